"""The pages people see: Jinja2 templates and static files, served by `service.routes.pages`."""
