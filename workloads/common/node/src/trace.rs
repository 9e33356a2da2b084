//! One trace from a client's request to its commit, across members (W3C trace context).

use std::fmt;

use bytes::Bytes;

/// Which trace a request belongs to, and the span that caused what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
}

impl TraceContext {
    /// The root of a new trace.
    pub fn root() -> Self {
        // Zero is no valid id.
        Self {
            trace_id: fastrand::u128(1..),
            span_id: fastrand::u64(1..),
        }
    }

    /// A new span of the same trace.
    pub fn child(self) -> Self {
        Self {
            span_id: fastrand::u64(1..),
            ..self
        }
    }

    /// Reads a `traceparent` header; `None` if it is malformed, which by the recommendation starts a new trace.
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, span, _flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = version.len() == 2 && version != "ff" && trace.len() == 32 && span.len() == 16;
        if !known || (version == "00" && parts.next().is_some()) {
            return None;
        }
        Self {
            trace_id: hex(trace)?,
            span_id: u64::try_from(hex(span)?).ok()?,
        }
        .valid()
    }

    /// 16 bytes of trace id and 8 of span id.
    pub fn to_bytes(self) -> Bytes {
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(&self.trace_id.to_be_bytes());
        bytes.extend_from_slice(&self.span_id.to_be_bytes());
        bytes.into()
    }

    /// Reads what [`TraceContext::to_bytes`] made; `None` if it is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace, span) = bytes.split_first_chunk::<16>()?;
        let span = <[u8; 8]>::try_from(span).ok()?;
        Self {
            trace_id: u128::from_be_bytes(*trace),
            span_id: u64::from_be_bytes(span),
        }
        .valid()
    }

    fn valid(self) -> Option<Self> {
        (self.trace_id != 0 && self.span_id != 0).then_some(self)
    }
}

/// Lower-case hexadecimal digits only.
fn hex(text: &str) -> Option<u128> {
    let lower = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if lower {
        u128::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

impl fmt::Display for TraceContext {
    /// As a `traceparent` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace_id, self.span_id)
    }
}

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// Runs what belongs to a client's trace: [`current`] is `trace` in it.
pub async fn within<F: Future>(trace: Option<TraceContext>, work: F) -> F::Output {
    CURRENT.scope(trace, work).await
}

/// The trace that this task works for, if the client named one.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|trace| *trace).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn headers_and_bytes_go_there_and_back() {
        let trace = TraceContext::from_traceparent(EXAMPLE).unwrap();
        assert_eq!(trace.to_string(), EXAMPLE);
        assert_eq!(TraceContext::from_bytes(&trace.to_bytes()), Some(trace));
        assert_eq!(trace.child().trace_id, trace.trace_id);
        assert_ne!(trace.child().span_id, trace.span_id);
    }

    #[test]
    fn malformed_ones_start_a_new_trace() {
        let upper = EXAMPLE.to_uppercase();
        let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let longer = format!("{EXAMPLE}-x");
        let unknown = EXAMPLE.replacen("00", "ff", 1);
        for bad in [
            "",
            "00",
            upper.as_str(),
            zero,
            &longer,
            &unknown,
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::from_traceparent(bad), None, "{bad}");
        }
        assert_eq!(TraceContext::from_bytes(&[0; 24]), None);
        assert_eq!(TraceContext::from_bytes(&[1; 23]), None);
    }
}
