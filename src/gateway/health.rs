//! Report of `/health`: the state of the gateway, and of its server as it was last seen.

use serde_json::{Value, json};

/// State in which a server was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UpstreamState {
    /// No response of the server has been seen yet.
    #[default]
    Unknown,
    /// The server answered.
    Up,
    /// The server gave no answer, or a server error (status 5xx), for this reason.
    Down(String),
}

/// Returns the body of `/health`. The gateway serves it with status 200 even if the server is down:
/// restarting the gateway would not help. `processes` is the number of running server processes, or
/// `None` for an HTTP server.
pub fn report(name: &str, upstream: &UpstreamState, processes: Option<usize>) -> Value {
    let (status, state, why) = match upstream {
        UpstreamState::Unknown => ("ok", "unknown", None),
        UpstreamState::Up => ("ok", "up", None),
        UpstreamState::Down(why) => ("degraded", "down", Some(why)),
    };
    let mut server = json!({ "name": name, "state": state });
    if let Some(why) = why {
        server["why"] = why.as_str().into();
    }
    if let Some(processes) = processes {
        server["processes"] = processes.into();
    }
    json!({ "status": status, "version": env!("CARGO_PKG_VERSION"), "upstream": server })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_down_is_named_with_its_reason() {
        let report = report("weather", &UpstreamState::Down("connection refused".into()), Some(0));
        assert_eq!(report["status"], "degraded");
        assert_eq!(
            report["upstream"],
            json!({ "name": "weather", "state": "down", "why": "connection refused", "processes": 0 })
        );
    }
}
