//! What every service stands on: settings, telemetry, HTTP server, problems, tokens, clock, shutdown.
