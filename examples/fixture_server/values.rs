//! Values of the fixtures, and the list of tools.

use rmcp::ErrorData;
use rmcp::model::*;
use serde_json::{Value, json};

/// PNG image of a single pixel, in Base64.
pub const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// WAV file without samples, in Base64.
pub const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA==";

/// Result of a tool call.
pub type CallResult = Result<CallToolResponse, ErrorData>;

/// Returns a successful result with a text.
pub fn text(s: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(s)]).into()
}

/// Returns the contents of a text resource.
pub fn contents(uri: &str, mime: &str, body: &str) -> ResourceContents {
    ResourceContents::text(body, uri).with_mime_type(mime)
}

/// Returns the parameters of a form elicitation.
pub fn form(message: &str, properties: Value, required: Value) -> ElicitRequestParams {
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.into(),
        requested_schema: serde_json::from_value(
            json!({"type": "object", "properties": properties, "required": required}),
        )
        .unwrap(),
    }
}

/// Returns an input request for a form.
pub fn ask_form(message: &str, properties: Value, required: Value) -> InputRequest {
    InputRequest::Elicitation(ElicitRequest::new(form(message, properties, required)))
}

/// Returns an input request for the name of the user.
pub fn ask_name() -> InputRequest {
    ask_form("What is your name?", json!({"name": {"type": "string"}}), json!(["name"]))
}

/// Returns an input request for sampling.
pub fn ask_sampling(prompt: &str) -> InputRequest {
    InputRequest::CreateMessage(CreateMessageRequest::new(CreateMessageRequestParams::new(
        vec![SamplingMessage::user_text(prompt)],
        100,
    )))
}

/// Returns an input request for the roots of the client.
pub fn ask_roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

/// Returns an `input_required` result with requests and a state.
pub fn need<const N: usize>(asks: [(&str, InputRequest); N], state: Option<String>) -> CallToolResponse {
    let asks: InputRequests = asks.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    InputRequiredResult::new(Some(asks), state).into()
}

/// Returns the response to an input request if it is an object; other values do not count.
pub fn answer<'a>(responses: Option<&'a InputResponses>, key: &str) -> Option<&'a Value> {
    responses?.get(key).filter(|v| v.is_object())
}

/// Returns the error about an unknown tool.
pub fn unknown(name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("Unknown tool: {name}"), None)
}

/// Returns the list of tools with their input schemas.
pub fn tools() -> Vec<Tool> {
    let empty = || json!({"type": "object", "properties": {}});
    let one =
        |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}, "required": [name]});
    let mut all = vec![
        ("test_sampling", one("prompt")),
        ("test_elicitation", one("message")),
        (
            "test_custom_header",
            json!({"type": "object", "properties": {"value": {"type": "string", "x-mcp-header": "Value"}}, "required": ["value"]}),
        ),
        (
            "json_schema_2020_12_tool",
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "$defs": {"address": {"$anchor": "addressDef", "type": "object",
                    "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
                "properties": {
                    "name": {"type": "string"}, "address": {"$ref": "#/$defs/address"},
                    "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                    "phone": {"type": "string"}, "email": {"type": "string"}
                },
                "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
                "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
                "then": {"required": ["phone"]}, "else": {"required": ["email"]},
                "additionalProperties": false
            }),
        ),
    ];
    for (name, fields) in [
        ("greet", json!({"name": {"type": "string"}})),
        ("slow_compute", json!({"seconds": {"type": "number"}, "label": {"type": "string"}})),
        ("confirm_delete", json!({"filename": {"type": "string"}})),
        ("failing_job", json!({})),
        ("protocol_error_job", json!({})),
        ("multi_input", json!({})),
        ("test_tool_with_task", json!({})),
    ] {
        all.push((name, json!({"type": "object", "properties": fields})));
    }
    for name in [
        "test_simple_text",
        "test_image_content",
        "test_audio_content",
        "test_embedded_resource",
        "test_multiple_content_types",
        "test_error_handling",
        "test_tool_with_logging",
        "test_tool_with_progress",
        "test_elicitation_sep1034_defaults",
        "test_elicitation_sep1330_enums",
        "test_reconnection",
        "test_missing_capability",
        "test_streaming_elicitation",
        "test_logging_tool",
        "test_trigger_tool_change",
        "test_trigger_prompt_change",
        "test_input_required_result_elicitation",
        "test_input_required_result_sampling",
        "test_input_required_result_list_roots",
        "test_input_required_result_request_state",
        "test_input_required_result_tampered_state",
        "test_input_required_result_multiple_inputs",
        "test_input_required_result_multi_round",
        "test_input_required_result_capabilities",
    ] {
        all.push((name, empty()));
    }
    all.into_iter()
        .map(|(name, schema)| Tool::new(name, format!("Fixture tool {name}"), object(schema)))
        .collect()
}
