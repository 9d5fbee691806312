//! Control socket of the commands that run an engine.

use super::record::Recording;
use crate::control::server::Attach;
use crate::control::{self, About, ControlServer};
use crate::engine::Engine;
use crate::log::record::{Body, Level, Note, SessionId};
use crate::tape::{Recorder, Status};

/// Closes the control socket, if there is one. Followers receive the remaining records first.
pub async fn close(control: Option<ControlServer>) {
    if let Some(control) = control {
        control.close().await;
    }
}

/// Serves `engine` on a control socket until the returned server is dropped. Clients can attach if
/// `attach` is given. A failure does not stop the command: it is noted in the log, and the result is
/// `None`.
pub fn serve(
    engine: &Engine,
    record: &Recording,
    recorder: Option<&Recorder>,
    mode: &str,
    target: &[String],
    attach: Option<Attach>,
) -> Option<ControlServer> {
    let nothing = tokio::sync::watch::channel(Status::default()).1;
    let recording = recorder.map_or(nothing, Recorder::status);
    let about = About { name: record.name_for(target), mode: mode.to_owned(), target: target.to_vec() };
    match control::serve(engine.clone(), about, recording, attach) {
        Ok(server) => Some(server),
        Err(error) => {
            let text = format!(
                "no control socket: {error}; `shadowcat tui` and `shadowcat ctl` cannot reach this one"
            );
            tracing::warn!("{text}");
            let note = Note { frame: None, mark: None, level: Level::Warning, by: "shadowcat".into(), text };
            engine.log().append(SessionId(0), Body::Note(note));
            None
        }
    }
}
