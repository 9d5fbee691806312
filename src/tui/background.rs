//! What is done outside the screen, while it goes on.

use tokio::sync::mpsc;

use super::app::{Effect, Input};
use super::render;
use crate::clients::{self, Direction, Document, Homes, Wrapper};
use crate::engine::Engine;
use crate::tape::library::{self, Catalog, Wanted};

/// Does what an effect asks for, and tells the screen what became of it. Those that need the terminal are
/// given back.
pub fn run(effect: Effect, engine: &Engine, sender: &mpsc::Sender<Input>) -> Option<Effect> {
    match effect {
        Effect::Send(command, purpose) => {
            let (engine, sender) = (engine.clone(), sender.clone());
            tokio::spawn(async move {
                let reply = engine.send(command).await;
                // The screen may be closed by now.
                let _ = sender.send(Input::Replied(purpose, reply)).await;
            });
        }
        Effect::Render(job) => background(sender, move || Input::Rendered(render::render(&job))),
        Effect::Compare(comparison) => {
            background(sender, move || Input::Compared(comparison.run().map(Box::new)));
        }
        Effect::ListTapes => background(sender, || Input::Tapes(tapes())),
        Effect::FindServers => background(sender, || {
            Input::Servers(
                Homes::own().map(|homes| clients::servers(&homes)).map_err(|error| error.to_string()),
            )
        }),
        Effect::Plan(place, entry) => background(sender, move || Input::Planned(plan(&place, &entry))),
        Effect::Change(change) => background(sender, move || {
            let data = library::data().ok_or_else(homeless);
            Input::Changed(data.and_then(|data| {
                change.write(&data).map_err(|error| error.to_string())?;
                let client = change.place.client;
                Ok(format!("written; {}: {}", client.title, client.restart))
            }))
        }),
        other => return Some(other),
    }
    None
}

fn background(sender: &mpsc::Sender<Input>, work: impl FnOnce() -> Input + Send + 'static) {
    let sender = sender.clone();
    tokio::task::spawn_blocking(move || {
        // The screen may be closed by now.
        let _ = sender.blocking_send(work());
    });
}

/// The recordings of the library. One that cannot be read is one without recordings.
fn tapes() -> Vec<library::Entry> {
    let found = Catalog::open_settled(&mut |_, _| ()).and_then(|catalog| catalog.find(&Wanted::default()));
    let mut found = found.unwrap_or_default();
    // What is being recorded runs, and is listed as that.
    found.retain(|tape| tape.sealed || !library::is_recorded(&tape.path));
    found
}

/// What changes if we are put in front of a server, or taken out where we are.
fn plan(place: &clients::ConfigFile, entry: &clients::Entry) -> Result<clients::Change, String> {
    let document = Document::read(place).map_err(|error| error.to_string())?;
    let direction = if entry.is_wrapped() { Direction::Out } else { Direction::In };
    let wrapper = Wrapper::own().map_err(|error| error.to_string())?;
    let data = library::data().ok_or_else(homeless)?;
    let plan = clients::plan(place, document, std::slice::from_ref(entry), direction, &wrapper, &data);
    let refused = plan.refused.first().map(|(entry, why)| format!("{}: {why}", entry.server));
    plan.change.ok_or_else(|| refused.unwrap_or_else(|| "it is not there any more".into()))
}

fn homeless() -> String {
    "this user has no home directory; set SHADOWCAT_DATA_DIR".into()
}
