// The reference of the HTTP interface, drawn by Swagger UI from the service's own description.

window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  validatorUrl: null,  // else pages of other hosts would be asked to judge the description
  deepLinking: true,
  tryItOutEnabled: true,
});
