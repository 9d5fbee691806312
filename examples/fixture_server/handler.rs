//! Answers of the fixture server to each method.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::model::*;
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};

use crate::Fixture;
use crate::values::*;

/// Pause between the steps of tools that report progress.
const PAUSE: Duration = Duration::from_millis(50);

impl Fixture {
    async fn elicit(&self, cx: &RequestContext<RoleServer>, ask: ElicitRequestParams) -> CallResult {
        match cx.peer.create_elicitation(ask).await {
            Ok(r) => Ok(text(format!(
                "User response: action={}, content={}",
                json!(r.action).as_str().unwrap_or("?"),
                r.content.unwrap_or_default()
            ))),
            Err(e) => Ok(CallToolResult::error(vec![ContentBlock::text(e.to_string())]).into()),
        }
    }

    /// Ends the SSE stream of this call early (SEP-1699); the answer waits for `GET` with `Last-Event-ID`.
    async fn drop_stream(&self, cx: &RequestContext<RoleServer>) {
        let Some(parts) = cx.extensions.get::<http::request::Parts>() else { return };
        let Some(id) = parts.headers.get("mcp-session-id").and_then(|v| v.to_str().ok()) else { return };
        let handle = self.0.sessions.sessions.read().await.get(id).cloned();
        let Some(handle) = handle else { return };
        // Handlers do not know the number of their stream: the newest one that exists belongs to this call.
        for n in (0..64).rev() {
            if handle.close_sse_stream(n, Some(Duration::from_millis(200))).await.is_ok() {
                return;
            }
        }
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_prompts()
                .enable_prompts_list_changed()
                .enable_resources()
                .enable_resources_subscribe()
                .enable_resources_list_changed()
                .enable_tools()
                .enable_tool_list_changed()
                .enable_logging()
                .enable_completions()
                .enable_tasks()
                .build(),
        )
        .with_server_info(Implementation::new("fixture", "0.1.0"))
        .with_instructions("fixture")
    }

    // Lets rmcp check the Mcp-Param-* headers of SEP-2243 for this tool.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools().into_iter().find(|t| t.name == name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()).with_ttl_ms(60_000).with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(&self, req: CallToolRequestParams, cx: RequestContext<RoleServer>) -> CallResult {
        if req.name.starts_with("test_input_required_result_") {
            return self.input_required(&req, &cx).await;
        }
        if let Some(result) = self.task_tool(&req, &cx).await {
            return result;
        }
        let args = req.arguments.clone().unwrap_or_default();
        let arg = |k: &str| args.get(k).and_then(Value::as_str).unwrap_or_default();
        Ok(match &*req.name {
            "test_simple_text" => text("This is a simple text response for testing."),
            "test_image_content" => {
                CallToolResult::success(vec![ContentBlock::image(PNG, "image/png")]).into()
            }
            "test_audio_content" => {
                CallToolResult::success(vec![ContentBlock::audio(WAV, "audio/wav")]).into()
            }
            "test_embedded_resource" => CallToolResult::success(vec![ContentBlock::resource(contents(
                "test://embedded-resource",
                "text/plain",
                "This is an embedded resource content.",
            ))])
            .into(),
            "test_multiple_content_types" => CallToolResult::success(vec![
                ContentBlock::text("Multiple content types test:"),
                ContentBlock::image(PNG, "image/png"),
                ContentBlock::resource(contents(
                    "test://mixed-content-resource",
                    "application/json",
                    r#"{"test":"data","value":123}"#,
                )),
            ])
            .into(),
            "test_error_handling" => CallToolResult::error(vec![ContentBlock::text(
                "This tool intentionally returns an error for testing",
            )])
            .into(),
            "test_tool_with_logging" => {
                for line in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                    let note = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(line));
                    let _ = cx.peer.notify_logging_message(note).await;
                    tokio::time::sleep(PAUSE).await;
                }
                text("logged")
            }
            "test_logging_tool" => {
                if let Some(level) = cx.meta.log_level() {
                    let note = LoggingMessageNotificationParam::new(level, json!("asked for"));
                    let _ = cx.peer.notify_logging_message(note).await;
                }
                text("done")
            }
            "test_tool_with_progress" => {
                for at in [0.0, 50.0, 100.0] {
                    if let Some(token) = cx.meta.get_progress_token() {
                        let note = ProgressNotificationParam::new(token, at).with_total(100.0);
                        let _ = cx.peer.notify_progress(note).await;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                text("progressed")
            }
            "test_sampling" => {
                let ask =
                    CreateMessageRequestParams::new(vec![SamplingMessage::user_text(arg("prompt"))], 100);
                match cx.peer.create_message(ask).await {
                    Ok(r) => {
                        let said = r.message.content.first().and_then(|c| c.as_text());
                        text(format!("LLM response: {}", said.map_or("", |t| &t.text)))
                    }
                    Err(e) => CallToolResult::error(vec![ContentBlock::text(e.to_string())]).into(),
                }
            }
            "test_elicitation" => {
                let fields = json!({
                    "username": {"type": "string", "description": "User's response"},
                    "email": {"type": "string", "description": "User's email address"}
                });
                return self.elicit(&cx, form(arg("message"), fields, json!(["username", "email"]))).await;
            }
            "test_elicitation_sep1034_defaults" => {
                let fields = json!({
                    "name": {"type": "string", "default": "John Doe"},
                    "age": {"type": "integer", "default": 30},
                    "score": {"type": "number", "default": 95.5},
                    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
                    "verified": {"type": "boolean", "default": true}
                });
                return self.elicit(&cx, form("Defaults", fields, json!([]))).await;
            }
            "test_elicitation_sep1330_enums" => {
                let titled = json!([
                    {"const": "value1", "title": "First Option"},
                    {"const": "value2", "title": "Second Option"},
                    {"const": "value3", "title": "Third Option"}
                ]);
                let fields = json!({
                    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
                    "titledSingle": {"type": "string", "oneOf": titled},
                    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"],
                        "enumNames": ["Option One", "Option Two", "Option Three"]},
                    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
                    "titledMulti": {"type": "array", "items": {"anyOf": titled}}
                });
                return self.elicit(&cx, form("Enums", fields, json!([]))).await;
            }
            "test_reconnection" => {
                self.drop_stream(&cx).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                text("reconnected")
            }
            "test_missing_capability" => {
                if cx.client_capabilities().unwrap_or_default().sampling.is_none() {
                    return Err(ErrorData::missing_required_client_capability(
                        ClientCapabilities::builder().enable_sampling().build(),
                    ));
                }
                text("declared")
            }
            "test_streaming_elicitation" => need([("user_name", ask_name())], None),
            "test_trigger_tool_change" => {
                for sink in self.listeners() {
                    let _ = sink.notify_tool_list_changed().await; // filtered by the sink
                }
                text("changed")
            }
            "test_trigger_prompt_change" => {
                for sink in self.listeners() {
                    let _ = sink.notify_prompt_list_changed().await;
                }
                text("changed")
            }
            "test_custom_header" => text(arg("value")),
            "json_schema_2020_12_tool" => text("ok"),
            name => return Err(unknown(name)),
        })
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let one = |uri: &str, name: &str, mime: &str| {
            Resource::new(uri, name).with_description("Fixture resource").with_mime_type(mime)
        };
        Ok(ListResourcesResult::with_all_items(vec![
            one("test://static-text", "static text", "text/plain"),
            one("test://static-binary", "static binary", "image/png"),
            one("test://watched-resource", "watched", "text/plain"),
        ])
        .with_ttl_ms(60_000)
        .with_cache_scope(CacheScope::Public))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(vec![
            ResourceTemplate::new("test://template/{id}/data", "template")
                .with_description("Fixture template")
                .with_mime_type("application/json"),
        ]))
    }

    async fn read_resource(
        &self,
        req: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = &*req.uri;
        let id = uri.strip_prefix("test://template/").and_then(|s| s.strip_suffix("/data"));
        let body = match (uri, id) {
            ("test://static-text", _) => {
                contents(uri, "text/plain", "This is the content of the static text resource.")
            }
            ("test://watched-resource", _) => contents(uri, "text/plain", "watched"),
            ("test://static-binary", _) => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
            (_, Some(id)) => contents(
                uri,
                "application/json",
                &json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")}).to_string(),
            ),
            // -32002 to older peers; rmcp turns it into -32602 for 2026-07-28.
            _ => return Err(ErrorData::resource_not_found("Resource not found", Some(json!({"uri": uri})))),
        };
        Ok(ReadResourceResult::new(vec![body]).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let needs = |names: &[&str]| {
            names
                .iter()
                .map(|n| PromptArgument::new(*n).with_description("argument").with_required(true))
                .collect::<Vec<_>>()
        };
        let one = |name: &str, args: &[&str]| {
            Prompt::new(name, Some(format!("Fixture prompt {name}")), (!args.is_empty()).then(|| needs(args)))
        };
        Ok(ListPromptsResult::with_all_items(vec![
            one("test_simple_prompt", &[]),
            one("test_prompt_with_arguments", &["arg1", "arg2"]),
            one("test_prompt_with_embedded_resource", &["resourceUri"]),
            one("test_prompt_with_image", &[]),
            one("test_input_required_result_prompt", &[]),
        ]))
    }

    async fn get_prompt(
        &self,
        req: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let args = req.arguments.clone().unwrap_or_default();
        let arg = |k: &str| args.get(k).and_then(Value::as_str).unwrap_or_default();
        let say = |s: &str| PromptMessage::new_text(Role::User, s);
        let messages = match &*req.name {
            "test_simple_prompt" => vec![say("This is a simple prompt for testing.")],
            "test_prompt_with_arguments" => {
                vec![say(&format!("Prompt with arguments: arg1='{}', arg2='{}'", arg("arg1"), arg("arg2")))]
            }
            "test_prompt_with_embedded_resource" => vec![
                PromptMessage::new(
                    Role::User,
                    ContentBlock::resource(contents(
                        arg("resourceUri"),
                        "text/plain",
                        "Embedded resource content for testing.",
                    )),
                ),
                say("Please process the embedded resource above."),
            ],
            "test_prompt_with_image" => vec![
                PromptMessage::new(Role::User, ContentBlock::image(PNG, "image/png")),
                say("Please analyze the image above."),
            ],
            "test_input_required_result_prompt" => match answer(req.input_responses.as_ref(), "user_context")
            {
                Some(a) => vec![say(a["content"]["context"].as_str().unwrap_or("?"))],
                None => {
                    let ask = ask_form(
                        "What context should the prompt use?",
                        json!({"context": {"type": "string"}}),
                        json!(["context"]),
                    );
                    let asks = InputRequests::from([("user_context".to_owned(), ask)]);
                    return Ok(InputRequiredResult::from_input_requests(asks).into());
                }
            },
            name => return Err(ErrorData::invalid_params(format!("Unknown prompt: {name}"), None)),
        };
        Ok(GetPromptResult::new(messages).into())
    }

    async fn complete(
        &self,
        req: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values: Vec<String> = ["paris", "park", "party"]
            .iter()
            .filter(|v| v.starts_with(&req.argument.value))
            .map(|v| v.to_string())
            .collect();
        let info = CompletionInfo::with_all_values(values).map_err(|e| ErrorData::internal_error(e, None))?;
        Ok(CompleteResult::new(info))
    }

    async fn set_level(
        &self,
        req: SetLevelRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // rmcp still allows this method in 2026-07-28, where it no longer exists.
        if cx.protocol_version().is_some_and(|v| v >= ProtocolVersion::V_2026_07_28) {
            return Err(ErrorData::method_not_found::<SetLevelRequestMethod>());
        }
        *self.0.level.lock().unwrap() = req.level;
        Ok(())
    }

    async fn subscribe(
        &self,
        req: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.watched.lock().unwrap().insert(req.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        req: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.watched.lock().unwrap().remove(&req.uri);
        Ok(())
    }

    async fn get_task(
        &self,
        req: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.0.tasks.get_task(&req.task_id)?))
    }

    async fn update_task(
        &self,
        req: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.tasks.update_task(&req.task_id, req.input_responses)
    }

    async fn cancel_task(
        &self,
        req: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.tasks.cancel_task(&req.task_id)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone()) // rmcp cuts it down to what get_info advertises
    }

    async fn listen(&self, cx: SubscriptionContext) -> Result<(), ErrorData> {
        let key = self.0.next_stream.fetch_add(1, Ordering::Relaxed);
        self.0.streams.lock().unwrap().insert(key, cx.sink().clone());
        cx.cancelled().await;
        self.0.streams.lock().unwrap().remove(&key);
        Ok(())
    }
}
