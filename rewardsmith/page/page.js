/* The page of a run. `show(data)` draws everything and can be called again with newer data. */
(() => {
  let drawn = 0;
  function show(data) {
    document.getElementById("main").textContent = data.sentence;
    drawn += 1;
    document.documentElement.dataset.ready = "true";
    document.documentElement.dataset.drawn = String(drawn);
  }
  const first = document.getElementById("data").textContent.trim();
  if (first && first !== "null") show(JSON.parse(first));
  if (document.documentElement.dataset.mode === "watch") {
    const source = new EventSource("/events");
    source.addEventListener("data", (event) => show(JSON.parse(event.data)));
  }
})();
