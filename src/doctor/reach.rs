//! Checks of HTTP: whether there is an MCP endpoint at the URL, and whether it lets us in.

use std::collections::{HashMap, HashSet};

use http::StatusCode;

use super::Target;
use super::causes::{
    ACCEPTED_ONLY, BROKEN_OFF, CONTENT_TYPE, Cause, FORBIDDEN, HTTP_404, HTTP_405, HTTP_406, HTTP_415,
    HTTP_421, HTTP_429, HTTP_500, HTTP_502, HTTP_REFUSED, HTTP_SILENT, NOT_RPC, NOTIFICATION_REFUSED,
    OLD_SSE, PROXY, REDIRECT, REDIRECT_SAME, REFUSED, RESET, SESSION_LOST, STREAM_SILENT, TLS, UNAUTHORIZED,
    UNAUTHORIZED_BARE, UNREACHABLE, UNRESOLVED, WEB_PAGE,
};
use super::check::{Check, Evidence, line};
use super::target::is_servers;
use crate::log::http::{BROKEN_BODY, Http};
use crate::log::record::{FrameKind, LaneId, Origin, Role, Seq, SessionId};
use crate::log::world::Row;
use crate::mcp::{Direction, Id, Kind, Message, Unreached, json};

/// The first part of a response, or the answer that shadowcat made in its place.
struct Response<'a> {
    row: &'a Row,
    http: Http,
    message: Message,
    /// The request, if it is a message.
    asked: Option<(&'a Row, Message)>,
    /// `true` if the request named a session.
    in_session: bool,
    /// The host that the request was sent to.
    host: Option<String>,
}

/// Checks whether the URL leads to an MCP server.
pub(super) fn reach(target: &Target<'_>) -> Check {
    const ID: &str = "reach";
    let responses = responses(target);
    let unanswered = unanswered(target, &responses);
    let count = target.rows().filter(|row| row.status().is_some() && is_servers(row)).count();
    if count + responses.len() + unanswered.len() == 0 {
        return Check::inapplicable(ID, "the server is not reached over HTTP");
    }
    let is_greeted = target.is_greeted();
    let mut found: Vec<(&'static Cause, Evidence)> = Vec::new();
    if !is_greeted {
        found.extend(old_transport(target));
    }
    for response in &responses {
        let Some(cause) = response.cause(is_greeted) else { continue };
        if cause.check == ID {
            found.push((cause, response.evidence(target)));
        }
    }
    if !is_greeted {
        found.extend(elsewhere(target, &responses));
        found.extend(unanswered);
    }
    Check::of(ID, found, format!("{count} responses"))
}

/// Checks whether the server accepts the credentials of its client.
pub(super) fn authorization(target: &Target<'_>) -> Check {
    const ID: &str = "authorization";
    let responses = responses(target);
    let mut statuses = target.rows().filter(|row| is_servers(row)).filter_map(Row::status).peekable();
    if statuses.peek().is_none() {
        return Check::inapplicable(ID, "no HTTP response was recorded");
    }
    let refused: Vec<_> = responses
        .iter()
        .filter_map(|response| Some((response.cause(false).filter(|cause| cause.check == ID)?, response)))
        .collect();
    let last = refused.iter().map(|(_, response)| response.row.seq).max().unwrap_or_default();
    let is_let_in = target.rows().any(|row| row.seq > last && row.status() == Some(200) && is_servers(row));
    match (refused.is_empty(), is_let_in) {
        (true, _) => Check::passed(ID, "no 401 and no 403"),
        (false, true) => Check::passed(ID, format!("{} refusals, then an answer", refused.len())),
        (false, false) => {
            let found = refused.into_iter().map(|(cause, response)| (cause, response.evidence(target)));
            Check::of(ID, found.collect(), "")
        }
    }
}

/// Returns the first frame of each response that is no plain answer.
fn responses<'a>(target: &Target<'a>) -> Vec<Response<'a>> {
    let mut requests: HashMap<(SessionId, LaneId), &'a Row> = HashMap::new();
    for row in target.rows().filter(|row| row.direction == Direction::ToServer) {
        requests.entry((row.session, row.lane)).or_insert(row);
    }
    let mut seen: HashSet<(SessionId, LaneId)> = HashSet::new();
    let mut responses = Vec::new();
    for row in target.rows().filter(|row| row.direction == Direction::ToClient && row.status().is_some()) {
        // Messages with 200 are answers, and most of a recording.
        let is_answer = row.status() == Some(200) && row.kind != FrameKind::Http && !row.is_error;
        if is_answer || !matches!(row.origin(), Origin::Wire | Origin::Answered(_)) {
            continue;
        }
        let Some(record) = target.record(row) else { continue };
        let Some((frame, http)) = record.frame().and_then(|frame| Some((frame, frame.http.as_deref()?)))
        else {
            continue;
        };
        let place = (row.session, http.exchange);
        let is_broken = frame.message.raw() == BROKEN_BODY;
        if !seen.insert(place) && !is_broken {
            continue;
        }
        let asked = requests.get(&place).and_then(|row| Some((*row, target.message(row)?)));
        let sent = asked.as_ref().and_then(|(row, _)| target.record(row));
        let sent = sent.as_ref().and_then(|record| record.frame()?.http.as_deref());
        let in_session = sent.is_some_and(|http| http.header("mcp-session-id").is_some());
        let host = sent.and_then(|http| http.header("host")).map(str::to_owned);
        let message = frame.message.clone();
        responses.push(Response { row, http: http.clone(), message, asked, in_session, host });
    }
    responses
}

/// Returns the requests that got no response at all, or only the head of a stream.
fn unanswered(target: &Target<'_>, responses: &[Response<'_>]) -> Vec<(&'static Cause, Evidence)> {
    let by_request: HashMap<Seq, &Response<'_>> =
        responses.iter().filter_map(|response| Some((response.asked.as_ref()?.0.seq, response))).collect();
    let mut found = Vec::new();
    for (operation, row) in target.asked().filter(|(_, row)| target.is_http(row.session)) {
        if target.world.frames(operation).any(|row| row.role == Role::Response) {
            continue;
        }
        let response = by_request.get(&row.seq);
        match response {
            None => found.push((&HTTP_SILENT, target.evidence(row, "no answer"))),
            Some(response) if response.row.status() == Some(200) && response.http.stream => {
                let text = "200 with text/event-stream, and no answer on the stream";
                found.push((&STREAM_SILENT, target.evidence(row, text)));
            }
            Some(_) => {}
        }
    }
    found
}

/// Returns the events by which the old transport tells where to send messages (2024-11-05, HTTP with SSE).
fn old_transport(target: &Target<'_>) -> Vec<(&'static Cause, Evidence)> {
    let mut found = Vec::new();
    for row in target.rows().filter(|row| row.stream && is_servers(row)) {
        let Some(record) = target.record(row) else { continue };
        let Some(http) = record.frame().and_then(|frame| frame.http.as_deref()) else { continue };
        let event = http.event.as_ref().and_then(|event| event.name.as_deref());
        if event == Some("endpoint") {
            let text = format!("GET {} opens a stream with an `endpoint` event", http.path);
            found.push((&OLD_SSE, target.evidence(row, &text)));
        }
    }
    found
}

/// Returns what was found at other paths by requests that carry no message.
fn elsewhere(target: &Target<'_>, responses: &[Response<'_>]) -> Vec<(&'static Cause, Evidence)> {
    let is_post = |response: &&Response<'_>| &*response.http.method == "POST";
    let own: Vec<&str> = responses.iter().filter(is_post).map(|response| &*response.http.path).collect();
    let mut found: Vec<(&'static Cause, Evidence)> = Vec::new();
    for response in responses.iter().filter(|response| &*response.http.method == "GET") {
        let path = &*response.http.path;
        let allow = response.http.header("allow").unwrap_or_default();
        let is_mcp = match response.row.status() {
            Some(200) => response.http.stream,
            Some(405) => allow.to_ascii_uppercase().contains("POST"),
            Some(400 | 406) => true,
            _ => false,
        };
        if is_mcp && !own.contains(&path) {
            let status = response.row.status().unwrap_or_default();
            let text = format!("there is an MCP endpoint at {path} (GET: {status})");
            found.push((&HTTP_404, target.evidence(response.row, &text)));
        }
    }
    found
}

impl Response<'_> {
    /// Returns what is wrong with the response; `None` for an answer, or a refusal that clients expect.
    fn cause(&self, is_greeted: bool) -> Option<&'static Cause> {
        if !is_servers(self.row) {
            return (!is_greeted).then(|| self.unreached()).flatten();
        }
        let status = StatusCode::from_u16(self.row.status()?).ok()?;
        // An answer of the client has an id too, and gets 202.
        let asks = self.asked.as_ref().filter(|(row, _)| row.kind == FrameKind::Request);
        let asks = asks.and_then(|(_, message)| message.id());
        // A server need not have the stream of GET, nor let its sessions be deleted.
        if &*self.http.method != "POST" {
            return None;
        }
        let is_probe =
            self.asked.as_ref().is_some_and(|(_, asked)| asked.method() == Some("server/discover"));
        if is_greeted && is_probe {
            return status.is_redirection().then_some(&REDIRECT_SAME);
        }
        if self.is_rpc(asks) {
            return None;
        }
        if status.is_success() {
            return self.body_cause(asks);
        }
        if status.is_redirection() {
            return Some(if self.stays() { &REDIRECT_SAME } else { &REDIRECT });
        }
        if self.asked.as_ref().is_some_and(|(row, _)| row.kind == FrameKind::Notification) {
            return (is_greeted && !self.is_session_lost(is_greeted, status))
                .then_some(&NOTIFICATION_REFUSED);
        }
        if self.is_session_lost(is_greeted, status) {
            return Some(&SESSION_LOST);
        }
        self.status_cause(status)
    }

    fn status_cause(&self, status: StatusCode) -> Option<&'static Cause> {
        let text = String::from_utf8_lossy(self.message.body()).to_ascii_lowercase();
        let names_host = text.contains("host") || text.contains("origin");
        Some(match status.as_u16() {
            401 if self.http.header("www-authenticate").is_some() => &UNAUTHORIZED,
            401 => &UNAUTHORIZED_BARE,
            403 if names_host && self.http.header("www-authenticate").is_none() => &HTTP_421,
            403 => &FORBIDDEN,
            404 => &HTTP_404,
            405 => &HTTP_405,
            406 => &HTTP_406,
            415 => &HTTP_415,
            421 => &HTTP_421,
            429 => &HTTP_429,
            502..=504 => &HTTP_502,
            500..=599 => &HTTP_500,
            _ => &HTTP_REFUSED,
        })
    }

    /// Returns what is wrong with the body of a success.
    fn body_cause(&self, asks: Option<&Id>) -> Option<&'static Cause> {
        if self.message.raw() == BROKEN_BODY {
            return Some(&BROKEN_OFF);
        }
        // A stream that has said nothing yet, and a notification that was taken, are fine.
        asks.filter(|_| !self.http.stream && self.row.kind == FrameKind::Http)?;
        let kind = self.http.header("content-type").unwrap_or_default();
        if self.row.status() == Some(202) && self.message.body().is_empty() {
            return Some(&ACCEPTED_ONLY);
        }
        Some(match kind {
            kind if kind.contains("html") => &WEB_PAGE,
            kind if kind.contains("json") => &NOT_RPC,
            _ if Message::parse(self.message.raw().clone()).is_rpc() => &CONTENT_TYPE,
            _ => &NOT_RPC,
        })
    }

    /// Returns `true` for a JSON-RPC message that may answer the request.
    fn is_rpc(&self, asks: Option<&Id>) -> bool {
        match self.message.kind() {
            Kind::Opaque(_) => false,
            Kind::Failure { id, .. } => id.as_ref().is_some_and(|id| Some(id) == asks),
            _ => true,
        }
    }

    fn is_session_lost(&self, is_greeted: bool, status: StatusCode) -> bool {
        let is_loss = matches!(status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST);
        is_greeted && self.in_session && is_loss
    }

    /// Returns `true` for a redirect to the same origin.
    fn stays(&self) -> bool {
        let Some(to) = self.http.header("location") else { return false };
        match to.split_once("://") {
            None => to.starts_with('/') && !to.starts_with("//"),
            Some((_, rest)) => rest.split(['/', '?']).next() == self.host.as_deref(),
        }
    }

    /// Returns why shadowcat answered in the place of the server.
    fn unreached(&self) -> Option<&'static Cause> {
        let reason = self.message.outcome(&["data", Unreached::KEY]).and_then(json::unescape)?;
        Some(match Unreached::parse(&reason)? {
            Unreached::Refused => &REFUSED,
            Unreached::Unresolved => &UNRESOLVED,
            Unreached::TimedOut => &HTTP_SILENT,
            Unreached::Reset => &RESET,
            Unreached::Tls => &TLS,
            Unreached::Proxy => &PROXY,
            Unreached::Other => &UNREACHABLE,
        })
    }

    /// Returns the response in words: the status, where it leads, and the type and beginning of its body.
    fn evidence(&self, target: &Target<'_>) -> Evidence {
        let status = self.row.status().and_then(|status| StatusCode::from_u16(status).ok());
        let method = self.asked.as_ref().and_then(|(_, asked)| asked.method()).unwrap_or("no message");
        let mut words = format!("{} {} ({method})", self.http.method, self.http.path);
        if is_servers(self.row) {
            words += &format!(": {}", status.map(|status| status.to_string()).unwrap_or_default());
            for (name, what) in [
                ("location", " to "),
                ("retry-after", ", retry-after "),
                ("allow", ", allows "),
                ("www-authenticate", ", "),
                ("content-type", ", "),
            ] {
                words.extend(self.http.header(name).map(|value| format!("{what}{value}")));
            }
            if status == Some(StatusCode::UNAUTHORIZED) && self.http.header("www-authenticate").is_none() {
                words += " (no WWW-Authenticate)";
            }
        }
        let said = self.message.outcome(&["message"]).and_then(json::unescape);
        let text = said.map_or_else(|| target.text(self.row), |said| said.into_owned());
        let text = line(text.trim());
        if !text.is_empty() {
            words += &format!(": {text}");
        }
        Evidence { text: format!("#{} {words}", self.row.seq), ..target.evidence(self.row, "") }
    }
}
