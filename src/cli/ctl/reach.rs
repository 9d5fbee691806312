//! Selection of a running engine by the command line.

use clap::Args;

use crate::cli::failure::Failure;
use crate::control::client::CallError;
use crate::control::reach::{EngineSelector, ReachError};

/// Options that select an engine.
#[derive(Debug, Clone, Args)]
pub struct SelectorArguments {
    /// If several run: name of a server or session, process id, or path of a socket.
    #[arg(long = "session", value_name = "NAME", global = true, env = "SHADOWCAT_SESSION")]
    name: Option<String>,
    /// Name in the log for the author of the command.
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
            ReachError::Nobody(Some(_)) => Self::peer(error)
                .hint("without --session and SHADOWCAT_SESSION, `shadowcat ctl sessions` lists all running sessions"),
            ReachError::Nobody(None) => {
                Self::peer(error).hint("`shadowcat forward stdio -- CMD` or `shadowcat tui -- CMD` starts one")
            }
            ReachError::Several(_) => {
                Self::usage(error).hint("select one with --session NAME, or its process id")
            }
            ReachError::NotHeld(_) => Self::usage(error).hint("`shadowcat ctl held` lists held frames"),
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
            // The engine understood and refuses, so the command is wrong.
            CallError::Refused(failure) => Self::usage(failure),
            other => Self::peer(other),
        }
    }
}
