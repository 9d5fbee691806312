//! Answers of the built-in client to what servers ask.

use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Attendance, Client, ClientError, SCRIPT_DELAY};
use crate::log::record::Frame;
use crate::mcp::tree::exact_value;
use crate::mcp::{Id, Kind, Message, compose};

impl Client {
    /// Answers the request of the server in `asked`, or repeats the call whose result in `asked` requires
    /// input; `result` then holds the input responses. An `Err` is sent as a JSON-RPC error, and only to a
    /// request.
    ///
    /// # Errors
    /// Fails if `asked` is neither, its call was repeated already, or the server is gone.
    pub async fn respond(
        &self,
        asked: &Frame,
        result: Result<Value, (i64, String)>,
    ) -> Result<(), ClientError> {
        match asked.message.kind() {
            Kind::Request { id, .. } => {
                let line = match result {
                    Ok(result) => compose::response(id, &result),
                    Err((code, message)) => compose::failure(Some(id), code, &message),
                };
                self.say(line).await
            }
            // A call is repeated with one answer for each question, and declining is such an answer: there is
            // nowhere to put an error.
            Kind::Response { .. } => match result {
                Ok(responses) => self.retry(&asked.message, responses).await,
                Err(_) => Ok(()),
            },
            _ => Err(ClientError::NoQuestion("it".into())),
        }
    }

    /// Returns the client's own answer to a request of the server, or `None` if a person has to answer.
    pub(super) fn answer(&self, id: &Id, method: &str) -> Option<Bytes> {
        match method {
            "ping" => Some(compose::response(id, &json!({}))),
            "roots/list" => Some(compose::response(id, &self.roots())),
            "elicitation/create" => self.elicit().map(|answer| compose::response(id, &answer)),
            "sampling/createMessage" if self.attendance == Attendance::Person => None,
            "sampling/createMessage" => {
                Some(compose::failure(Some(id), -1, "no user is available to answer the sampling request"))
            }
            _ => Some(compose::failure(Some(id), compose::METHOD_NOT_FOUND, "method not found")),
        }
    }

    /// Repeats the call whose result requires input, unless a person has to give some of the input.
    pub(super) async fn give_input(&self, message: &Message) {
        let requests = message.outcome(&["inputRequests"]).map(exact_value);
        let requests = match requests {
            Some(Ok(Value::Object(requests))) => requests,
            // A server may ask for another try only.
            None => serde_json::Map::new(),
            // Nobody knows what was asked: leave it to the user, who sees the message.
            Some(Ok(_) | Err(_)) => return,
        };
        let mut responses = serde_json::Map::new();
        for (key, request) in requests {
            let answer = match request["method"].as_str() {
                Some("roots/list") => self.roots(),
                Some("elicitation/create") => match self.elicit() {
                    Some(answer) => answer,
                    None => return,
                },
                _ if self.attendance == Attendance::Person => return,
                _ => continue,
            };
            responses.insert(key, answer);
        }
        if matches!(self.attendance, Attendance::Script(_)) {
            tokio::time::sleep(SCRIPT_DELAY).await;
        }
        // A server that is gone by now needs no retry; ignore the error.
        let _ = self.retry(message, responses.into()).await;
    }

    /// Repeats the call whose result is `asked`, with the input that it requires.
    async fn retry(&self, asked: &Message, responses: Value) -> Result<(), ClientError> {
        let call = asked.id().and_then(|id| self.calls.lock().remove(id));
        let (method, params) = call.ok_or_else(|| ClientError::NoQuestion("the result".into()))?;
        let Value::Object(mut params) = params.unwrap_or_else(|| json!({})) else {
            return Err(ClientError::NoQuestion("the result".into()));
        };
        params.insert("inputResponses".into(), responses);
        params.remove("requestState");
        let id = self.next_id();
        self.calls.lock().insert(id.clone(), (method.clone(), Some(params.clone().into())));
        let mut text = self.enveloped(Some(params.into())).unwrap_or_else(|| json!({})).to_string();
        if let Some(state) = asked.outcome(&["requestState"]) {
            // The state is sent back byte for byte (2026-07-28, basic/patterns/mrtr).
            let state = String::from_utf8_lossy(state).into_owned();
            text.insert_str(1, &format!("\"requestState\":{state},"));
        }
        self.say(compose::request_text(&id, &method, Some(&text))).await
    }

    /// Returns the answer to an elicitation, or `None` if a person has to give it.
    fn elicit(&self) -> Option<Value> {
        match &self.attendance {
            Attendance::Person => None,
            Attendance::Nobody => Some(json!({ "action": "decline" })),
            Attendance::Script(answer) => Some(answer.clone()),
        }
    }

    fn roots(&self) -> Value {
        let name = self.root.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut root = json!({ "uri": compose::file_uri(self.root.as_os_str().as_bytes()) });
        if let Some(name) = name {
            root["name"] = name.into();
        }
        json!({ "roots": [root] })
    }
}
