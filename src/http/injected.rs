//! Exchanges of our own: what is injected towards the server, with the credentials of the http_session.
//! What the server says on them belongs to us, and never reaches the client.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};

use super::context::RequestContext;
use super::sessions::HttpSession;
use super::{body, facts, fit, relay, service::ProxyService};
use crate::log::operation::Correlation;
use crate::log::record::{Channel, Level};
use crate::mcp::compose::meta;
use crate::mcp::{Direction, Message};
use crate::session::{Form, Lane, Receipt, Scope};
use crate::transport::QueuedWrite;
use crate::transport::WriterQueue;
use crate::transport::http::headers;

/// Headers that belong to one body.
const OF_THE_BODY: [&str; 5] =
    ["content-length", "content-encoding", "mcp-method", "mcp-name", "last-event-id"];

/// Sends what leaves the http_session's own queue, each message in an exchange of its own.
pub fn serve(service: Arc<ProxyService>, http_session: Arc<HttpSession>) {
    let (service, http_session) = (Arc::downgrade(&service), Arc::downgrade(&http_session));
    tokio::spawn(async move {
        loop {
            let Some(queue) = http_session.upgrade().map(|http_session| Arc::clone(&http_session.own)) else {
                return;
            };
            let Some(write) = queue.next().await else { return };
            let (Some(service), Some(http_session)) = (service.upgrade(), http_session.upgrade()) else {
                return;
            };
            tokio::spawn(async move {
                if let Err(why) = exchange(&service, &http_session, write).await {
                    http_session.session.note(
                        None,
                        Level::Error,
                        format!("an exchange of our own failed: {why}"),
                    );
                }
            });
        }
    });
}

async fn exchange(
    service: &Arc<ProxyService>,
    http_session: &Arc<HttpSession>,
    write: QueuedWrite<Receipt>,
) -> Result<(), String> {
    let message = Message::parse(write.bytes.clone());
    let head = http_session.head.lock().clone();
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
                service.upstream.address().path.parse().map_err(|_| "its URL has no path".to_owned())?
        }
    }
    let sent = request.headers_mut();
    headers::leave_hop(sent);
    OF_THE_BODY.into_iter().for_each(|name| drop(sent.remove(name)));
    sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    sent.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    if message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some() {
        fit::repeat(sent, &service.annotations.lock().headers(&message));
    }
    let (parts, _) = request.into_parts();
    let described = parts.clone();
    let frame = write.receipt.as_ref().map_or(0, |receipt| receipt.frame);
    let mut request = Request::from_parts(parts, body::once(Arc::clone(&http_session.session), write));
    request.extensions_mut().insert(RequestContext::new(service, http_session, frame));
    let response = service.upstream.send(request).await.map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    // What is ours is taken out before it gets here; what else comes has nobody to go to.
    let nowhere = Arc::new(WriterQueue::queue());
    nowhere.abandon();
    let is_stream = headers::is_type(&head.headers, "text/event-stream");
    let lane = http_session.session.open_lane(Lane {
        direction: Direction::ToClient,
        channel: Channel::Main,
        forward: Arc::clone(&nowhere),
        back: Some(Arc::clone(&http_session.own)),
        scope: Scope::Session,
        form: if is_stream { Form::Event } else { Form::Body },
        correlation: Correlation::None,
        open_to_us: false,
    });
    let facts = facts::Facts::new(&service.cleaner, lane, &described, http_session.has_secret_endpoint());
    let relay = relay::Relay {
        service: Arc::clone(service),
        http_session: Arc::clone(http_session),
        lane,
        queue: nowhere,
        facts,
        head,
        rewrite: None,
        op: None,
    };
    let outcome = if is_stream { relay.events(body).await } else { relay.whole(body).await };
    http_session.session.close_lane(lane, outcome.err().as_deref());
    Ok(())
}
