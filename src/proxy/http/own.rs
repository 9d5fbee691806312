//! Exchanges of our own: what is injected towards the server, with the credentials of the visit.
//! What the server says on them belongs to us, and never reaches the client.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};

use super::spoken::Spoken;
use super::visits::Visit;
use super::{Gate, body, facts, fit, relay};
use crate::log::operation::Course;
use crate::log::record::{Channel, Level};
use crate::mcp::compose::meta;
use crate::mcp::{Direction, Message};
use crate::proxy::session::{Form, Lane, Port, Scope, Ticket};
use crate::transport::Parcel;
use crate::transport::http::headers;

/// Headers that belong to one body.
const OF_THE_BODY: [&str; 5] =
    ["content-length", "content-encoding", "mcp-method", "mcp-name", "last-event-id"];

/// Sends what leaves the visit's own port, each message in an exchange of its own.
pub fn serve(gate: Arc<Gate>, visit: Arc<Visit>) {
    let (gate, visit) = (Arc::downgrade(&gate), Arc::downgrade(&visit));
    tokio::spawn(async move {
        loop {
            let Some(port) = visit.upgrade().map(|visit| Arc::clone(&visit.own)) else { return };
            let Some(parcel) = port.next().await else { return };
            let (Some(gate), Some(visit)) = (gate.upgrade(), visit.upgrade()) else { return };
            tokio::spawn(async move {
                if let Err(why) = exchange(&gate, &visit, parcel).await {
                    visit.session.note(None, Level::Error, format!("an exchange of our own failed: {why}"));
                }
            });
        }
    });
}

async fn exchange(gate: &Arc<Gate>, visit: &Arc<Visit>, parcel: Parcel<Ticket>) -> Result<(), String> {
    let message = Message::parse(parcel.bytes.clone());
    let head = visit.head.lock().clone();
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    match head {
        Some(head) => {
            *request.uri_mut() = head.uri;
            *request.headers_mut() = head.headers;
        }
        // Nobody has said anything yet that could be imitated.
        None => {
            *request.uri_mut() =
                gate.upstream.place().path.parse().map_err(|_| "its URL has no path".to_owned())?
        }
    }
    let sent = request.headers_mut();
    headers::leave_hop(sent);
    OF_THE_BODY.into_iter().for_each(|name| drop(sent.remove(name)));
    sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    sent.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    if message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some() {
        fit::repeat(sent, &gate.annotations.lock().headers(&message));
    }
    let (parts, _) = request.into_parts();
    let described = parts.clone();
    let frame = parcel.ticket.as_ref().map_or(0, |ticket| ticket.frame);
    let mut request = Request::from_parts(parts, body::once(Arc::clone(&visit.session), parcel));
    request.extensions_mut().insert(Spoken::new(gate, visit, frame));
    let response = gate.upstream.send(request).await.map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    // What is ours is taken out before it gets here; what else comes has nobody to go to.
    let nowhere = Arc::new(Port::queue());
    nowhere.abandon();
    let is_stream = headers::is_type(&head.headers, "text/event-stream");
    let lane = visit.session.open_lane(Lane {
        direction: Direction::ToClient,
        channel: Channel::Main,
        forward: Arc::clone(&nowhere),
        back: Some(Arc::clone(&visit.own)),
        scope: Scope::Session,
        form: if is_stream { Form::Event } else { Form::Body },
        course: Course::None,
        open_to_us: false,
    });
    let facts = facts::Facts::new(&gate.cleaner, lane, &described, visit.is_placed());
    let relay = relay::Relay {
        gate: Arc::clone(gate),
        visit: Arc::clone(visit),
        lane,
        port: nowhere,
        facts,
        head,
        rewrite: None,
        op: None,
    };
    let outcome = if is_stream { relay.events(body).await } else { relay.whole(body).await };
    visit.session.close_lane(lane, outcome.err().as_deref());
    Ok(())
}
