"""The texts that a language model reads, as Jinja2 templates. A missing variable is an error."""
