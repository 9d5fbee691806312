//! Tools that run as tasks (extension io.modelcontextprotocol/tasks, SEP-2663).

use std::time::Duration;

use rmcp::model::*;
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskExit, TaskFuture, TaskOptions};
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::Fixture;
use crate::values::*;

impl Fixture {
    /// Calls a tool that may run as a task. Returns `None` for any other tool.
    pub async fn task_tool(
        &self,
        req: &CallToolRequestParams,
        cx: &RequestContext<RoleServer>,
    ) -> Option<CallResult> {
        let args = req.arguments.clone().unwrap_or_default();
        let arg = |k: &str| args.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
        let able = cx.client_capabilities().is_some_and(|c| c.supports_tasks());
        let name = &*req.name;
        // The listed tools cannot be served without a task.
        if !able && ["failing_job", "confirm_delete", "multi_input", "test_tool_with_task"].contains(&name) {
            return Some(Err(ErrorData::missing_required_client_capability(
                ClientCapabilities::builder().enable_tasks().build(),
            )));
        }
        let done = |s: String| CallToolResult::success(vec![ContentBlock::text(s)]);
        let spawn = |work: TaskFuture| self.0.tasks.spawn(TaskOptions::default(), move |_| work);
        Some(Ok(match name {
            "greet" => text(format!("Hello, {}!", arg("name"))),
            "slow_compute" => {
                let seconds = args.get("seconds").and_then(Value::as_f64).unwrap_or(1.0);
                let nap = tokio::time::sleep(Duration::from_secs_f64(seconds));
                if !able {
                    nap.await;
                    return Some(Ok(text("computed")));
                }
                let task = self.0.tasks.spawn(TaskOptions::default(), move |cx| {
                    Box::pin(async move {
                        tokio::select! {
                            () = cx.cancelled() => Err(TaskExit::Cancelled),
                            () = nap => Ok(done("computed".into())),
                        }
                    })
                });
                CreateTaskResult::new(task).into()
            }
            "failing_job" => CreateTaskResult::new(spawn(Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(CallToolResult::error(vec![ContentBlock::text("failed on purpose")]))
            })))
            .into(),
            "protocol_error_job" if !able => return Some(Err(ErrorData::internal_error("on purpose", None))),
            "protocol_error_job" => CreateTaskResult::new(spawn(Box::pin(async move {
                Err(TaskExit::Error(ErrorData::internal_error("on purpose", None)))
            })))
            .into(),
            "confirm_delete" => {
                let file = arg("filename");
                let task = self.0.tasks.spawn(TaskOptions::default(), move |cx| {
                    Box::pin(async move {
                        let ask = ask_form(
                            &format!("Delete {file}?"),
                            json!({"confirm": {"type": "boolean"}}),
                            json!(["confirm"]),
                        );
                        let answer = cx.request_input("confirm", ask).await?;
                        Ok(done(format!("confirmed: {}", answer["content"]["confirm"])))
                    })
                });
                CreateTaskResult::new(task).into()
            }
            "multi_input" => {
                let task = self.0.tasks.spawn(TaskOptions::default(), move |cx| {
                    Box::pin(async move {
                        let (a, b) = tokio::join!(
                            cx.request_input("name", ask_name()),
                            cx.request_input(
                                "confirm",
                                ask_form(
                                    "Sure?",
                                    json!({"confirm": {"type": "boolean"}}),
                                    json!(["confirm"])
                                )
                            ),
                        );
                        Ok(done(format!("{} {}", a?, b?)))
                    })
                });
                CreateTaskResult::new(task).into()
            }
            "test_tool_with_task" => match answer(req.input_responses.as_ref(), "user_name") {
                None => need([("user_name", ask_name())], None),
                Some(a) => {
                    let said = format!("Hello, {}!", a["content"]["name"].as_str().unwrap_or("?"));
                    CreateTaskResult::new(spawn(Box::pin(async move { Ok(done(said)) }))).into()
                }
            },
            _ => return None,
        }))
    }
}
