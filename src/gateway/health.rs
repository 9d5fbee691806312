//! `/health`: whether the gateway runs, and what it last saw of its server.

use serde_json::{Value, json};

/// What was last seen of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Upstream {
    /// Nobody has asked it anything yet.
    #[default]
    Unknown,
    Up,
    /// It gave no answer, and why.
    Down(String),
}

/// The report. It is given with 200 as long as the gateway itself answers: a server that is down is
/// no reason to start the gateway again.
pub fn report(name: &str, upstream: &Upstream, processes: Option<usize>) -> Value {
    let (status, state, why) = match upstream {
        Upstream::Unknown => ("ok", "unknown", None),
        Upstream::Up => ("ok", "up", None),
        Upstream::Down(why) => ("degraded", "down", Some(why)),
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
        let report = report("weather", &Upstream::Down("connection refused".into()), Some(0));
        assert_eq!(report["status"], "degraded");
        assert_eq!(
            report["upstream"],
            json!({ "name": "weather", "state": "down", "why": "connection refused", "processes": 0 })
        );
    }
}
