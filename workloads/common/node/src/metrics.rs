//! The registry of a process's metrics.

use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

/// A registry that already tells what runs here.
pub fn registry(kind: &str, version: &str) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let build = IntGaugeVec::new(
        Opts::new("quorate_build_info", "Always 1; the labels say what runs"),
        &["kind", "version"],
    )?;
    build.with_label_values(&[kind, version]).set(1);
    registry.register(Box::new(build))?;
    Ok(registry)
}

/// Everything registered, in Prometheus' text format.
pub fn text(registry: &Registry) -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_told() {
        let text = text(&registry("RaftCluster", "0.1.0").unwrap()).unwrap();
        assert!(
            text.contains(r#"quorate_build_info{kind="RaftCluster",version="0.1.0"} 1"#),
            "{text}"
        );
    }
}
