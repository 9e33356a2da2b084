//! What every member process needs: configuration, telemetry, health, TLS, shutdown.
