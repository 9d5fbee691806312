//! Form made from a JSON Schema: one field per property. Values without a simple type are written
//! as JSON.

use ratatui_textarea::TextArea;
use serde_json::{Map, Value};

/// Form for the members of an object.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// Fields, one per property of the schema.
    pub fields: Vec<FormField>,
    /// Index of the field under the cursor.
    pub cursor: usize,
    /// Members that the schema does not name, kept when the user switches back from JSON.
    extra: Map<String, Value>,
}

/// Field for one property.
#[derive(Debug, Clone)]
pub struct FormField {
    /// Name of the property.
    pub name: String,
    /// Description or title in the schema, made safe for the screen.
    pub title: String,
    /// Kind of value that the property takes.
    pub kind: FieldKind,
    /// `true` if the schema requires the property.
    pub required: bool,
    /// Text as written so far.
    pub input: TextArea<'static>,
}

/// Kind of value that a property takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// String.
    Text,
    /// Number.
    Number,
    /// Integer.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Choice among these values.
    Choice(Vec<String>),
    /// Any other value, written as JSON.
    Json,
}

impl Form {
    /// Creates a form for `schema`. The form has no fields if the schema does not describe an
    /// object with properties.
    pub fn new(schema: &Value) -> Self {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = schema["properties"].as_object();
        let fields = properties.into_iter().flatten().map(|(name, property)| FormField {
            name: name.clone(),
            title: describe(property),
            kind: FieldKind::of(property),
            required: required.contains(&name.as_str()),
            input: line(&property.get("default").map(to_text).unwrap_or_default()),
        });
        Self { fields: fields.collect(), cursor: 0, extra: Map::new() }
    }

    /// Returns the object that is filled in, without empty fields that are not required.
    ///
    /// # Errors
    /// Returns the first field that is wrong, and the reason.
    pub fn value(&self) -> Result<Value, String> {
        let mut object = Map::new();
        for field in &self.fields {
            if let Some(value) = field.value()? {
                object.insert(field.name.clone(), value);
            }
        }
        for (name, value) in &self.extra {
            object.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Ok(object.into())
    }

    /// Returns the object as far as it is filled in. A field that is wrong is included as its text.
    pub fn draft(&self) -> Value {
        let member = |field: &FormField| {
            let value = field.value().unwrap_or_else(|_| Some(Value::from(field.text())))?;
            Some((field.name.clone(), value))
        };
        let mut object: Map<String, Value> = self.fields.iter().filter_map(member).collect();
        for (name, value) in &self.extra {
            object.entry(name.clone()).or_insert_with(|| value.clone());
        }
        object.into()
    }

    /// Fills the fields from an object.
    pub fn fill(&mut self, object: &Map<String, Value>) {
        self.extra = object.clone();
        for field in &mut self.fields {
            let value = self.extra.remove(&field.name);
            field.input = line(&value.as_ref().map(to_text).unwrap_or_default());
        }
    }

    /// Returns the field under the cursor.
    pub fn current(&mut self) -> Option<&mut FormField> {
        self.fields.get_mut(self.cursor)
    }
}

impl FieldKind {
    fn of(property: &Value) -> Self {
        let choices =
            property["enum"].as_array().map(|values| values.iter().map(to_text).collect()).or_else(|| {
                let of = property["oneOf"].as_array()?;
                of.iter()
                    .map(|choice| choice["const"].as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
            });
        match (choices, property["type"].as_str()) {
            (Some(choices), _) => Self::Choice(choices),
            (None, Some("string")) => Self::Text,
            (None, Some("number")) => Self::Number,
            (None, Some("integer")) => Self::Integer,
            (None, Some("boolean")) => Self::Boolean,
            _ => Self::Json,
        }
    }

    /// Returns the hint for an empty field.
    pub fn hint(&self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Number => "number".into(),
            Self::Integer => "whole number".into(),
            Self::Boolean => "true or false (Space)".into(),
            Self::Choice(choices) => format!("{} (Space)", choices.join(" | ")),
            Self::Json => "JSON".into(),
        }
    }
}

impl FormField {
    /// Returns the text of the field.
    pub fn text(&self) -> &str {
        self.input.lines().first().map_or("", String::as_str)
    }

    /// Replaces the text of the field.
    pub fn set(&mut self, text: &str) {
        self.input = line(text);
    }

    /// Returns the value that follows the current one when Space is pressed.
    pub fn next_choice(&self) -> Option<String> {
        let choices = match &self.kind {
            FieldKind::Boolean => vec!["true".to_owned(), "false".to_owned()],
            FieldKind::Choice(choices) => choices.clone(),
            _ => return None,
        };
        let at = choices.iter().position(|choice| choice == self.text()).map_or(0, |at| at + 1);
        // An optional field has the empty value after its last choice.
        match choices.get(at) {
            Some(choice) => Some(choice.clone()),
            None if !self.required => Some(String::new()),
            None => choices.into_iter().next(),
        }
    }

    /// Returns the value of the field; `None` if it is left out.
    ///
    /// # Errors
    /// Returns the reason if a required field is empty or the text is not of the field's kind.
    pub fn value(&self) -> Result<Option<Value>, String> {
        let text = self.text();
        if text.is_empty() {
            return match (self.required, &self.kind) {
                (true, FieldKind::Text) => Ok(Some(Value::from(""))),
                (true, kind) => Err(format!("{} is required: {}", self.name, kind.hint())),
                (false, _) => Ok(None),
            };
        }
        let wrong = || format!("{}: {text:?} is not valid; expected {}", self.name, self.kind.hint());
        let value = match self.kind {
            FieldKind::Text | FieldKind::Choice(_) => Value::from(text),
            FieldKind::Integer => Value::from(text.parse::<i64>().map_err(|_| wrong())?),
            FieldKind::Number => {
                serde_json::from_str::<serde_json::Number>(text).map_err(|_| wrong())?.into()
            }
            FieldKind::Boolean => Value::from(text.parse::<bool>().map_err(|_| wrong())?),
            FieldKind::Json => {
                serde_json::from_str(text).map_err(|error| format!("{}: {error}", self.name))?
            }
        };
        Ok(Some(value))
    }
}

/// Returns a text area of one line, with the cursor at its end.
pub fn line(text: &str) -> TextArea<'static> {
    let mut area = TextArea::new(vec![text.replace('\n', " ")]);
    area.move_cursor(ratatui_textarea::CursorMove::End);
    area.set_cursor_line_style(ratatui::style::Style::new());
    area
}

fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn describe(property: &Value) -> String {
    let text = property["description"].as_str().or(property["title"].as_str()).unwrap_or_default();
    super::text::clean(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn form() -> Form {
        Form::new(&json!({
            "type": "object",
            "properties": {
                "q": { "type": "string", "description": "what" },
                "n": { "type": "integer", "default": 5 },
                "exact": { "type": "boolean" },
                "sort": { "enum": ["up", "down"] },
                "where": { "type": "object" },
            },
            "required": ["q"],
        }))
    }

    #[test]
    fn fields_become_typed_members() {
        let mut form = form();
        form.fields[0].set("x");
        form.fields[2].set("true");
        form.fields[4].set(r#"{"a":1}"#);
        assert_eq!(form.value(), Ok(json!({ "q": "x", "n": 5, "exact": true, "where": { "a": 1 } })));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let mut form = form();
        form.fields[1].set("many");
        assert_eq!(form.value(), Err("n: \"many\" is not valid; expected whole number".into()));
    }

    #[test]
    fn switching_from_json_loses_nothing() {
        let mut form = form();
        let object = json!({ "q": "x", "unknown": [1], "n": 7 });
        form.fill(object.as_object().unwrap());
        assert_eq!(form.value(), Ok(object));
    }

    #[test]
    fn choices_go_round() {
        let mut form = form();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let next = form.fields[3].next_choice().unwrap();
            form.fields[3].set(&next);
            seen.push(next);
        }
        assert_eq!(seen, ["up", "down", "", "up"]);
    }
}
