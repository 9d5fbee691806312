//! Lists of tools, resources and prompts in results, read so that one item that cannot be read costs
//! itself only.

use serde_json::Value;

use super::json;
use super::message::Message;
use super::tree::{Node, exact_value};

/// The items of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// The items that can be read (see [`Node::to_exact_value`]).
    pub items: Vec<Value>,
    /// The reasons why the list or an item of it cannot be read, each with its place.
    pub flaws: Vec<String>,
}

/// Reads the member `name` of a result, such as `tools`. An error response lists nothing.
pub fn listed(message: &Message, name: &str) -> Listed {
    let mut listed = Listed::default();
    if message.is_error() {
        return listed;
    }
    let Some(list) = message.outcome(&[name]) else {
        listed.flaws.push(format!("result.{name} is missing"));
        return listed;
    };
    if list.first() != Some(&b'[') {
        let kind = Node::parse(list).map_or("no value that can be read", |node| node.kind());
        listed.flaws.push(format!("result.{name} is {kind}, not an array"));
        return listed;
    }
    for (at, span) in json::elements(list, 0..list.len()).enumerate() {
        match exact_value(&list[span]) {
            Ok(item) => listed.items.push(item),
            Err(error) => listed.flaws.push(format!("result.{name}[{at}] cannot be read: {error}")),
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: &str) -> Listed {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        listed(&Message::parse(text.into()), "tools")
    }

    #[test]
    fn an_item_that_cannot_be_read_costs_itself_only() {
        let deep = "[".repeat(2000) + &"]".repeat(2000);
        let list =
            read(&format!(r#"{{"tools":[{{"name":"a"}},{deep},{{"name":"\\ud83d"}},{{"name":1E400}}]}}"#));
        assert_eq!(list.items.len(), 3);
        assert!(list.flaws[0].starts_with("result.tools[1] cannot be read: more than 1024 levels"));
    }

    #[test]
    fn another_shape_is_named() {
        assert_eq!(read(r#"{"tools":{}}"#).flaws, ["result.tools is an object, not an array"]);
        assert_eq!(read(r#"{"tools":null}"#).flaws, ["result.tools is null, not an array"]);
        assert_eq!(read("{}").flaws, ["result.tools is missing"]);
        assert_eq!(read(r#"{"tools":[]}"#), Listed::default());
    }
}
