//! Composer screen: calls of what servers offer, and messages written by hand.

use bytes::Bytes;
use ratatui_textarea::TextArea;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::text::clean;
use crate::engine::Command;
use crate::log::Log;
use crate::log::record::{OpId, Role, Seq, SessionId};
use crate::log::world::{Row, World};
use crate::mcp::listing::{Listed, listed};
use crate::mcp::tree::Node;
use crate::mcp::{Direction, Message, json as scan, layout};

/// Tool, resource or prompt that a server offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Session of the server.
    pub session: SessionId,
    /// Kind of the offer.
    pub kind: OfferKind,
    /// Name of the tool or prompt, or URI of the resource.
    pub name: String,
    /// Description by the server, made safe for the screen.
    pub description: String,
    /// JSON Schema of the arguments.
    pub schema: Value,
    /// `true` if the server says that the tool is destructive (`destructiveHint`).
    pub destructive: bool,
}

/// Kind of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferKind {
    /// Tool, listed by `tools/list`.
    Tool,
    /// Resource, listed by `resources/list`.
    Resource,
    /// Prompt, listed by `prompts/list`.
    Prompt,
}

/// Pane that has the keyboard focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// List of offers.
    List,
    /// Form or text of the draft.
    Draft,
    /// Reply to the message sent last.
    Reply,
}

/// Call or message that is being written.
#[derive(Debug, Clone)]
pub enum Draft {
    /// Call of an offer, with its arguments as a form or as JSON.
    Call {
        /// Offer to be called.
        offer: Box<Offer>,
        /// Arguments as a form.
        form: Form,
        /// Arguments as JSON.
        text: TextArea<'static>,
        /// `true` if the JSON is sent rather than the form.
        as_json: bool,
    },
    /// Whole message, injected into a session.
    Message {
        /// Session that the message is injected into.
        session: SessionId,
        /// Side that the message goes to.
        to: Direction,
        /// Message as written so far.
        text: TextArea<'static>,
    },
}

/// State of the Composer screen.
#[derive(Debug)]
pub struct Composer {
    /// Offers of all open sessions.
    pub offers: Vec<Offer>,
    /// Index of the offer under the cursor.
    pub cursor: usize,
    /// Pane that has the keyboard focus.
    pub focus: Focus,
    /// Call or message that is being written.
    pub draft: Option<Draft>,
    /// Message whose reply is shown.
    pub sent: Option<SentMessage>,
    /// Mistake in the draft for which the first Ctrl-s was refused. The next one sends it all the
    /// same.
    pub confirm: Option<String>,
    /// The reasons why lists or items of them could not be read.
    pub flaws: Vec<String>,
    /// Frames with the lists that the offers were read from.
    made_from: Vec<Seq>,
}

/// Message that was sent, as far as it was found in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentMessage {
    /// Request of the built-in client, by its session and JSON-RPC request id.
    Id(SessionId, String),
    /// Injected frame.
    Frame(Seq),
    /// Operation that the message began.
    Operation(OpId),
}

impl Default for Composer {
    fn default() -> Self {
        Self {
            offers: Vec::new(),
            cursor: 0,
            focus: Focus::List,
            draft: None,
            sent: None,
            confirm: None,
            flaws: Vec::new(),
            made_from: Vec::new(),
        }
    }
}

impl OfferKind {
    const fn list(self) -> (&'static str, &'static str) {
        match self {
            Self::Tool => ("tools/list", "tools"),
            Self::Resource => ("resources/list", "resources"),
            Self::Prompt => ("prompts/list", "prompts"),
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Tool => "tools/call",
            Self::Resource => "resources/read",
            Self::Prompt => "prompts/get",
        }
    }

    /// Returns the name of the kind for the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::Prompt => "prompt",
        }
    }
}

impl Composer {
    /// Reads the offers again if the sessions have newer lists.
    pub fn refresh(&mut self, world: &World, log: &Log) {
        let kinds = [OfferKind::Tool, OfferKind::Resource, OfferKind::Prompt];
        let open = || world.sessions.values().filter(|session| session.closed.is_none());
        let pages = |kind: OfferKind| {
            let page = move |session: &crate::log::world::SessionOverview| {
                let seqs = session.list(kind.list().0, Seq::MAX);
                seqs.into_iter().map(move |seq| (session.id, kind, seq)).collect::<Vec<_>>()
            };
            open().flat_map(page).collect::<Vec<_>>()
        };
        let pages: Vec<_> = kinds.into_iter().flat_map(pages).collect();
        let made_from: Vec<Seq> = pages.iter().map(|(_, _, seq)| *seq).collect();
        // After the end of the last server, its offers stay readable.
        if made_from == self.made_from || made_from.is_empty() {
            return;
        }
        let chosen = self.offers.get(self.cursor).map(|offer| (offer.kind, offer.name.clone()));
        self.made_from = made_from;
        self.offers.clear();
        self.flaws.clear();
        for (session, kind, seq) in pages {
            let (offers, flaws) = offers(session, kind, seq, log);
            self.offers.extend(offers);
            self.flaws.extend(flaws);
        }
        // A draft for a server that was restarted goes to the server that runs now.
        if let Some(Draft::Call { offer, .. }) = &mut self.draft
            && let Some(same) =
                self.offers.iter().find(|new| new.kind == offer.kind && new.name == offer.name)
        {
            **offer = same.clone();
        }
        let again = |offer: &Offer| {
            chosen.as_ref().is_some_and(|(kind, name)| offer.kind == *kind && offer.name == *name)
        };
        self.cursor = self.offers.iter().position(again).unwrap_or(0);
    }

    /// Starts a call of the offer under the cursor.
    pub fn choose(&mut self) {
        let Some(offer) = self.offers.get(self.cursor).cloned() else { return };
        self.focus = Focus::Draft;
        // A draft for the same offer keeps its text.
        if matches!(&self.draft, Some(Draft::Call { offer: current, .. }) if **current == offer) {
            return;
        }
        let form = Form::new(&offer.schema);
        let text = text_area("{}");
        self.confirm = None;
        self.draft = Some(Draft::Call { offer: Box::new(offer), form, text, as_json: false });
    }

    /// Starts a message as a copy of `message`, or from a template.
    pub fn write(&mut self, session: SessionId, to: Direction, message: Option<&Message>) {
        let line = message.map_or_else(
            || blank(to).to_owned(),
            |message| String::from_utf8_lossy(message.body()).into_owned(),
        );
        let text = match scan::document(line.as_bytes()) {
            Ok(_) => layout::pretty(&line),
            Err(_) => line,
        };
        self.confirm = None;
        self.draft = Some(Draft::Message { session, to, text: text_area(&text) });
        self.focus = Focus::Draft;
    }

    /// Switches the side that a written message goes to. An unchanged template becomes the template
    /// for the other side.
    pub fn turn(&mut self) {
        let Some(Draft::Message { to, text, .. }) = &mut self.draft else { return };
        if layout::one_line(&text.lines().join("\n")) == blank(*to) {
            *text = text_area(&layout::pretty(blank(to.reverse())));
        }
        *to = to.reverse();
    }

    /// Switches a call between the form and JSON.
    ///
    /// # Errors
    /// Returns the reason if the text is not a JSON object that the form can show.
    pub fn switch(&mut self) -> Result<(), String> {
        let Some(Draft::Call { form, text, as_json, .. }) = &mut self.draft else { return Ok(()) };
        if *as_json {
            let value: Map<String, Value> = serde_json::from_str(&text.lines().join("\n"))
                .map_err(|error| format!("the JSON is not an object that a form can show: {error}"))?;
            form.fill(&value);
        } else {
            *text = text_area(&format!("{:#}", form.draft()));
        }
        *as_json = !*as_json;
        Ok(())
    }

    /// Returns the command that sends the draft, or `None` if there is no draft or it must be
    /// confirmed. A draft with a mistake, or for a destructive tool, must be confirmed by a second
    /// call; until then [`Composer::confirm`] has the reason.
    ///
    /// # Errors
    /// None at present: a draft is never refused.
    pub fn send(&mut self, world: &World) -> Result<Option<Command>, String> {
        let Some(draft) = &self.draft else { return Ok(None) };
        let confirmed = self.confirm.take().is_some();
        match draft {
            Draft::Call { offer, form, text, as_json } => {
                // The arguments are kept as JSON text because they may be wrong on purpose.
                let (text, wrong) = match as_json {
                    true => {
                        let text = text.lines().join("\n");
                        let wrong = Node::parse(text.as_bytes()).map_or_else(
                            |error| not_json(&text).or_else(|| Some(error.to_string())),
                            |arguments| wrong(&offer.schema, &arguments.to_value()),
                        );
                        (text, wrong)
                    }
                    false => match form.value() {
                        Ok(arguments) => (arguments.to_string(), wrong(&offer.schema, &arguments)),
                        Err(wrong) => (form.draft().to_string(), Some(wrong)),
                    },
                };
                let destroys =
                    || offer.destructive.then(|| format!("{} is marked as destructive", offer.name));
                if let Some(wrong) = wrong.or_else(destroys).filter(|_| !confirmed) {
                    self.confirm = Some(wrong);
                    return Ok(None);
                }
                // The built-in client sends what it can hold exactly: inject other text without it.
                let Some(arguments) = exactly(&text) else {
                    return Ok(Some(Command::Inject {
                        session: offer.session,
                        to: Direction::ToServer,
                        line: spelled(offer, &text),
                    }));
                };
                let params = match offer.kind {
                    OfferKind::Resource => json!({ "uri": offer.name }),
                    OfferKind::Tool | OfferKind::Prompt => {
                        json!({ "name": offer.name, "arguments": arguments })
                    }
                };
                let own = world.sessions.get(&offer.session).is_some_and(|session| session.opened.own_client);
                let (session, method) = (offer.session, offer.kind.method());
                Ok(Some(match own {
                    true => Command::Call { session, method: method.to_owned(), params: Some(params) },
                    false => {
                        let id = crate::mcp::Id::new("0");
                        let line = crate::mcp::compose::request(&id, method, Some(&params));
                        Command::Inject { session, to: Direction::ToServer, line }
                    }
                }))
            }
            Draft::Message { session, to, text } => {
                let text = text.lines().join("\n");
                if let Some(wrong) = not_a_message(&text).filter(|_| !confirmed) {
                    self.confirm = Some(wrong);
                    return Ok(None);
                }
                let line = layout::one_line(&text).into();
                Ok(Some(Command::Inject { session: *session, to: *to, line }))
            }
        }
    }

    /// Returns the frame that answers the message sent last, as soon as there is one.
    pub fn reply(&mut self, world: &World, log: &Log) -> Option<Seq> {
        let op = match self.sent.clone()? {
            SentMessage::Operation(op) => op,
            SentMessage::Frame(seq) => world.row(seq)?.op()?,
            SentMessage::Id(session, id) => {
                let is_call = |seq: Seq| {
                    let record = log.get(seq);
                    let id_of = record.as_ref().and_then(|record| record.frame()?.message.id());
                    id_of.is_some_and(|its| its.token() == id)
                };
                let mine = |row: &&Row| {
                    row.session == session
                        && row.direction == Direction::ToServer
                        && row.role == Role::Request
                };
                world.rows.iter().rev().take(4096).filter(mine).find(|row| is_call(row.seq))?.op()?
            }
        };
        self.sent = Some(SentMessage::Operation(op));
        let answers = |row: &&Row| matches!(row.role, Role::Response | Role::InputRequired);
        world.frames(world.operation(op)?).filter(answers).last().map(|row| row.seq)
    }
}

/// Returns a text area that contains `text`, with the cursor at its beginning.
pub fn text_area(text: &str) -> TextArea<'static> {
    let mut area = TextArea::new(text.lines().map(str::to_owned).collect());
    area.set_cursor_line_style(ratatui::style::Style::new());
    area
}

/// Returns the template of a message that this side understands.
const fn blank(to: Direction) -> &'static str {
    match to {
        Direction::ToServer => r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#,
        Direction::ToClient => {
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}"#
        }
    }
}

/// Returns the mistake in a text, with line and column, if it is not JSON.
pub fn not_json(text: &str) -> Option<String> {
    let flaw = scan::document(text.as_bytes()).err()?;
    let (line, column) = scan::line_column(text, flaw.offset);
    Some(format!("line {line}, column {column}: {}", flaw.reason))
}

/// Returns the mistake in a text, with line and column where known, if it is not a JSON-RPC
/// message.
pub fn not_a_message(text: &str) -> Option<String> {
    if let Some(wrong) = not_json(text) {
        return Some(wrong);
    }
    match Message::parse(text.to_owned().into()).kind() {
        crate::mcp::Kind::Opaque(why) => Some(why.to_string()),
        _ => None,
    }
}

/// Returns the first reason why `arguments` do not match `schema`.
fn wrong(schema: &Value, arguments: &Value) -> Option<String> {
    let validator = match crate::mcp::schema::validator(schema) {
        Ok(validator) => validator,
        Err(error) => return Some(format!("the arguments could not be checked: {error}")),
    };
    validator.iter_errors(arguments).next().map(|error| {
        let place = error.instance_path().to_string();
        let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
        format!("the arguments do not fit the schema{at}: {error}")
    })
}

/// Returns the value of a JSON text, if `serde_json` holds all of it exactly.
fn exactly(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    (Node::parse(text.as_bytes()).ok()?.to_exact_value() == value).then_some(value)
}

/// Returns the line of a call with arguments that are kept as they are spelled.
fn spelled(offer: &Offer, arguments: &str) -> Bytes {
    let name = Value::from(offer.name.as_str());
    let params = match offer.kind {
        OfferKind::Resource => format!(r#""uri":{name}"#),
        OfferKind::Tool | OfferKind::Prompt => {
            format!(r#""name":{name},"arguments":{}"#, layout::one_line(arguments))
        }
    };
    let method = offer.kind.method();
    format!(r#"{{"jsonrpc":"2.0","id":0,"method":"{method}","params":{{{params}}}}}"#).into()
}

/// Reads the offers of a list, and the reasons why some cannot be read.
fn offers(session: SessionId, kind: OfferKind, seq: Seq, log: &Log) -> (Vec<Offer>, Vec<String>) {
    let record = log.get(seq);
    let list = record.as_ref().and_then(|record| Some(listed(&record.frame()?.message, kind.list().1)));
    let Listed { items, mut flaws } = list.unwrap_or_default();
    let mut offers = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let key = if kind == OfferKind::Resource { "uri" } else { "name" };
        let Some(name) = item[key].as_str().map(str::to_owned) else {
            flaws.push(format!("result.{}[{at}] has no {key}", kind.list().1));
            continue;
        };
        let description = item["description"].as_str().or(item["name"].as_str()).unwrap_or_default();
        let schema = match kind {
            OfferKind::Tool => item["inputSchema"].clone(),
            OfferKind::Resource => json!({}),
            OfferKind::Prompt => prompt_schema(&item["arguments"]),
        };
        let destructive = item["annotations"]["destructiveHint"] == true;
        offers.push(Offer { session, kind, name, description: clean(description), schema, destructive });
    }
    (offers, flaws)
}

/// Returns a JSON Schema for the arguments of a prompt, which are a list of names; the values are
/// strings.
fn prompt_schema(arguments: &Value) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for argument in arguments.as_array().into_iter().flatten() {
        let Some(name) = argument["name"].as_str() else { continue };
        properties
            .insert(name.to_owned(), json!({ "type": "string", "description": argument["description"] }));
        if argument["required"] == true {
            required.push(name);
        }
    }
    json!({ "type": "object", "properties": properties, "required": required })
}
