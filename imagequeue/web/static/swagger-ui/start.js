"use strict";

// Ours; everything else in this directory is Swagger UI's (see LICENSE and NOTICE).
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  // The badge of a validator elsewhere would tell that host of this document.
  validatorUrl: null,
});
