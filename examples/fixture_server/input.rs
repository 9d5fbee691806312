//! Tools that need the client's input: multi-round-trip requests (2026-07-28, basic/patterns/mrtr).

use rmcp::RoleServer;
use rmcp::model::*;
use rmcp::service::RequestContext;
use serde_json::json;

use crate::Fixture;
use crate::values::*;

impl Fixture {
    /// Calls a `test_input_required_result_*` tool.
    pub async fn input_required(
        &self,
        req: &CallToolRequestParams,
        cx: &RequestContext<RoleServer>,
    ) -> CallResult {
        let got = req.input_responses.as_ref();
        let state = req.request_state.as_deref();
        let what = req.name.trim_start_matches("test_input_required_result_");
        Ok(match what {
            "elicitation" => match answer(got, "user_name") {
                Some(a) => text(format!("Hello, {}!", a["content"]["name"].as_str().unwrap_or("?"))),
                None => need([("user_name", ask_name())], None),
            },
            "sampling" => match answer(got, "capital_question") {
                Some(a) => text(a["content"]["text"].as_str().unwrap_or("?")),
                None => need([("capital_question", ask_sampling("What is the capital of France?"))], None),
            },
            "list_roots" => match answer(got, "client_roots") {
                Some(a) => text(format!("Roots: {}", a["roots"])),
                None => need([("client_roots", ask_roots())], None),
            },
            "request_state" | "tampered_state" => match self.round(state)? {
                0 => need(
                    [(
                        "confirm",
                        ask_form("Please confirm", json!({"ok": {"type": "boolean"}}), json!(["ok"])),
                    )],
                    Some(self.seal(1)?),
                ),
                _ => text("state-ok"),
            },
            "multiple_inputs" => {
                let keys = ["user_name", "greeting", "client_roots"];
                if self.round(state)? == 1 && keys.iter().all(|k| answer(got, k).is_some()) {
                    text("all inputs received")
                } else {
                    need(
                        [
                            ("user_name", ask_name()),
                            ("greeting", ask_sampling("Generate a greeting")),
                            ("client_roots", ask_roots()),
                        ],
                        Some(self.seal(1)?),
                    )
                }
            }
            "multi_round" => match self.round(state)? {
                0 => need(
                    [(
                        "step1",
                        ask_form(
                            "Step 1: What is your name?",
                            json!({"name": {"type": "string"}}),
                            json!(["name"]),
                        ),
                    )],
                    Some(self.seal(1)?),
                ),
                1 => need(
                    [(
                        "step2",
                        ask_form(
                            "Step 2: What is your favorite color?",
                            json!({"color": {"type": "string"}}),
                            json!(["color"]),
                        ),
                    )],
                    Some(self.seal(2)?),
                ),
                _ => text("multi-round complete"),
            },
            "capabilities" => {
                let caps = cx.client_capabilities().unwrap_or_default();
                let mut asks = InputRequests::new();
                if caps.elicitation.is_some() {
                    asks.insert("user_name".into(), ask_name());
                }
                if caps.sampling.is_some() {
                    asks.insert("greeting".into(), ask_sampling("Generate a greeting"));
                }
                if caps.roots.is_some() {
                    asks.insert("client_roots".into(), ask_roots());
                }
                if got.is_some() || asks.is_empty() {
                    text("done")
                } else {
                    InputRequiredResult::from_input_requests(asks).into()
                }
            }
            _ => return Err(unknown(&req.name)),
        })
    }
}
