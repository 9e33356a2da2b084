//! Probes: what a pod's spec asks, and what follows from the answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// One probe, with Kubernetes' defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbeSpec {
    pub path: String,
    pub port: u16,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub failure_threshold: u32,
    pub success_threshold: u32,
}

impl ProbeSpec {
    /// Reads a container's probe; the port may be the name of one of its ports.
    pub fn read(probe: &Probe, container: &Container) -> Result<Self, String> {
        let http = probe
            .http_get
            .as_ref()
            .ok_or("only httpGet probes are supported on this host")?;
        let port = port_of(&http.port, container)
            .ok_or_else(|| format!("the probe's port {:?} is unknown", http.port))?;
        let positive = |value: Option<i32>, default: u32| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(default)
        };
        let seconds =
            |value: Option<i32>, default: u32| Duration::from_secs(positive(value, default).into());
        Ok(Self {
            path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
            port,
            initial_delay: Duration::from_secs(positive(probe.initial_delay_seconds, 0).into()),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            failure_threshold: positive(probe.failure_threshold, 3),
            success_threshold: positive(probe.success_threshold, 1),
        })
    }
}

/// A container's port by number or name.
pub(crate) fn port_of(port: &IntOrString, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.as_deref().unwrap_or_default();
            ports
                .iter()
                .find(|port| port.name.as_deref() == Some(name))?
                .container_port
        }
    };
    u16::try_from(number).ok()
}

/// The verdict over a row of answers: it changes only after so many of the same kind in a row.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    healthy: bool,
    contrary: u32,
    to_healthy: u32,
    to_unhealthy: u32,
}

impl Verdict {
    pub fn new(spec: &ProbeSpec, healthy: bool) -> Self {
        Self {
            healthy,
            contrary: 0,
            to_healthy: spec.success_threshold,
            to_unhealthy: spec.failure_threshold,
        }
    }

    /// Takes an answer in and says what holds now.
    pub fn judge(&mut self, answer: bool) -> bool {
        if answer == self.healthy {
            self.contrary = 0;
        } else {
            self.contrary += 1;
            if self.contrary
                >= if answer {
                    self.to_healthy
                } else {
                    self.to_unhealthy
                }
            {
                self.healthy = answer;
                self.contrary = 0;
            }
        }
        self.healthy
    }
}

/// Asks once: whether a status from 200 to 399 came within the probe's timeout.
pub(crate) async fn ask(address: Ipv4Addr, spec: &ProbeSpec) -> bool {
    let target = SocketAddr::from((address, spec.port));
    let asked = async {
        let stream = tokio::net::TcpStream::connect(target).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .ok()?;
        let request = hyper::Request::get(&spec.path)
            .header(hyper::header::HOST, target.to_string())
            .body(Empty::<Bytes>::new())
            .ok()?;
        // Both in one task: when the time is over, nothing of the question is left. A connection that is closed after
        // the answer may be done before the answer is taken.
        let mut response = std::pin::pin!(sender.send_request(request));
        let response = tokio::select! {
            response = &mut response => response,
            _ = connection => response.await,
        };
        Some(response.ok()?.status().as_u16())
    };
    let status = tokio::time::timeout(spec.timeout, asked)
        .await
        .ok()
        .flatten();
    status.is_some_and(|status| (200..400).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ContainerPort, HTTPGetAction};

    fn spec() -> ProbeSpec {
        let container = Container {
            ports: Some(vec![ContainerPort {
                name: Some("health".into()),
                container_port: 7073,
                ..Default::default()
            }]),
            ..Default::default()
        };
        let http = HTTPGetAction {
            port: IntOrString::String("health".into()),
            ..Default::default()
        };
        let probe = Probe {
            http_get: Some(http),
            failure_threshold: Some(2),
            success_threshold: Some(3),
            ..Default::default()
        };
        ProbeSpec::read(&probe, &container).unwrap()
    }

    #[test]
    fn defaults_and_named_ports_are_kubernetes_own() {
        let spec = spec();
        assert_eq!((spec.port, spec.path.as_str()), (7073, "/"));
        assert_eq!(
            (spec.period, spec.timeout),
            (Duration::from_secs(10), Duration::from_secs(1))
        );
        assert!(ProbeSpec::read(&Probe::default(), &Container::default()).is_err());
    }

    #[tokio::test]
    async fn an_answer_counts_even_when_the_connection_is_closed_with_it() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let spec = ProbeSpec {
            port: listener.local_addr().unwrap().port(),
            ..spec()
        };
        for (status, passes) in [
            ("200 OK", true),
            ("503 No", false),
            ("399 X", true),
            ("400 X", false),
        ]
        .repeat(20)
        {
            let answer = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let asked = stream.read(&mut [0; 1024]).await.unwrap();
                assert!(asked > 0);
                stream
                    .write_all(
                        format!(
                            "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                        )
                        .as_bytes(),
                    )
                    .await
                    .unwrap();
            };
            let (passed, ()) = tokio::join!(ask(Ipv4Addr::LOCALHOST, &spec), answer);
            assert_eq!(passed, passes, "{status}");
        }
        drop(listener);
        assert!(!ask(Ipv4Addr::LOCALHOST, &spec).await);
    }

    #[test]
    fn a_verdict_changes_only_after_its_threshold() {
        let mut verdict = Verdict::new(&spec(), false);
        let answers = [
            true, true, false, true, true, true, false, true, false, false,
        ];
        let said: Vec<_> = answers
            .iter()
            .map(|answer| verdict.judge(*answer))
            .collect();
        assert_eq!(
            said,
            [
                false, false, false, false, false, true, true, true, true, false
            ]
        );
    }
}
