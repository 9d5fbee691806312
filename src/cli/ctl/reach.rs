//! Which of the running engines is meant, as the command line says it.

use clap::Args;

use crate::cli::failure::Failure;
use crate::control::client::CallError;
use crate::control::reach::{EngineSelector, ReachError};

/// Which engine.
#[derive(Debug, Clone, Args)]
pub struct SelectorArguments {
    /// Where several run: the name of a server or session, a process id, or the path of a socket.
    #[arg(long = "session", value_name = "NAME", global = true, env = "SHADOWCAT_SESSION")]
    name: Option<String>,
    /// What the log calls whoever does this.
    #[arg(long = "as", value_name = "NAME", global = true, default_value = "ctl")]
    by: String,
}

impl From<SelectorArguments> for EngineSelector {
    fn from(SelectorArguments { name, by }: SelectorArguments) -> Self {
        Self { name, by }
    }
}

impl From<ReachError> for Failure {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Nobody(_) => Self::peer(error).hint(
                "`shadowcat ctl sessions` lists what runs; `shadowcat forward stdio -- CMD` starts one",
            ),
            ReachError::Several(_) => {
                Self::usage(error).hint("say which with --session NAME, or its process id")
            }
            ReachError::NotHeld(_) => Self::usage(error).hint("`shadowcat ctl held` lists what is"),
            ReachError::NoRequest(_) => {
                Self::usage(error).hint("`shadowcat ctl edit` changes it, `shadowcat ctl drop` keeps it back")
            }
            ReachError::Ended(_) => Self::peer(error),
            ReachError::Call(error) => error.into(),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            // The engine understood and says no: what was wanted is wrong.
            CallError::Refused(failure) => Self::usage(failure),
            other => Self::peer(other),
        }
    }
}
