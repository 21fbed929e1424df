// Starts Swagger UI. It is a file of its own because the page's policy permits no inline script.
const { SwaggerUIBundle } = window;

SwaggerUIBundle({
  url: new URL("../openapi.json", import.meta.url).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
