//! The parser of queries.

use std::ops::Range;

use super::value::unquote;
use super::{Expr, Field, Matcher, QueryError};

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Word,
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, Range<usize>)>,
    next: usize,
    depth: usize,
}

/// Maximum depth of nested parentheses and negations.
const DEEPEST: usize = 100;

/// Maximum length of a query in bytes.
const MAX_LENGTH: usize = 16 << 10;

pub(super) fn parse(text: &str) -> Result<Expr, QueryError> {
    if text.len() > MAX_LENGTH {
        let message = format!("the query has {} bytes; at most {MAX_LENGTH} are read", text.len());
        return Err(QueryError { span: 0..text.len(), message });
    }
    let mut parser = Parser { text, tokens: lex(text), next: 0, depth: 0 };
    if parser.tokens.is_empty() {
        return Ok(Expr::All);
    }
    let expr = parser.alternatives()?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.error("unexpected ')'")),
    }
}

/// Splits a text into tokens. A word reaches to the next white space or closing parenthesis outside
/// quotes and brackets.
fn lex(text: &str) -> Vec<(Token, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let token = match bytes[at] {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'(' => Token::Open,
            b')' => Token::Close,
            b'|' => {
                at += usize::from(bytes.get(at + 1) == Some(&b'|'));
                Token::Or
            }
            b'-' | b'!' if bytes.get(at + 1).is_some_and(|next| !next.is_ascii_whitespace()) => Token::Not,
            _ => {
                at = word_end(bytes, at);
                tokens.push((keyword(&text[start..at]), start..at));
                continue;
            }
        };
        at += 1;
        tokens.push((token, start..at));
    }
    tokens
}

fn keyword(word: &str) -> Token {
    match word {
        "AND" | "&&" => Token::And,
        "OR" => Token::Or,
        "NOT" => Token::Not,
        _ => Token::Word,
    }
}

pub(super) fn word_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut quoted = false;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'(' => depth += 1,
            b']' | b')' if depth > 0 => depth -= 1,
            b')' => break,
            byte if byte.is_ascii_whitespace() && depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    at.min(bytes.len())
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn accept(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    fn error(&self, message: &str) -> QueryError {
        let end = self.text.len();
        let span = self.tokens.get(self.next).map_or(end..end, |(_, span)| span.clone());
        QueryError { span, message: message.to_owned() }
    }

    fn alternatives(&mut self) -> Result<Expr, QueryError> {
        let mut any = vec![self.conjunction()?];
        while self.accept(&Token::Or) {
            any.push(self.conjunction()?);
        }
        Ok(if any.len() == 1 { any.swap_remove(0) } else { Expr::Or(any) })
    }

    fn conjunction(&mut self) -> Result<Expr, QueryError> {
        let mut all = vec![self.unary()?];
        loop {
            let explicit = self.accept(&Token::And);
            match self.peek() {
                Some(Token::Word | Token::Open | Token::Not) => all.push(self.unary()?),
                _ if explicit => return Err(self.error("AND needs an operand after it")),
                _ => break,
            }
        }
        Ok(if all.len() == 1 { all.swap_remove(0) } else { Expr::And(all) })
    }

    fn unary(&mut self) -> Result<Expr, QueryError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("nested too deeply"));
        }
        let expr = self.operand();
        self.depth -= 1;
        expr
    }

    fn operand(&mut self) -> Result<Expr, QueryError> {
        match self.peek() {
            Some(Token::Not) => {
                self.next += 1;
                Ok(Expr::Not(Box::new(self.unary()?)))
            }
            Some(Token::Open) => {
                self.next += 1;
                let inner = self.alternatives()?;
                if !self.accept(&Token::Close) {
                    return Err(self.error("a '(' is not closed"));
                }
                Ok(inner)
            }
            Some(Token::Word) => self.term(),
            Some(Token::Close) => Err(self.error("unexpected ')'")),
            Some(Token::And | Token::Or) => Err(self.error("an operator needs an operand on both sides")),
            None => Err(self.error("an operand is missing at the end")),
        }
    }

    fn term(&mut self) -> Result<Expr, QueryError> {
        let span = self.tokens[self.next].1.clone();
        let word = &self.text[span.clone()];
        let expr = match word.split_once(':') {
            Some((name, value)) if !name.contains('"') => {
                if let Some(field) = second_field(value) {
                    let message =
                        format!("write {name}:a|b for either value, or a space around | before {field}:");
                    return Err(QueryError { span, message });
                }
                let field = Field::ALL.iter().find(|field| field.word() == name).ok_or_else(|| {
                    QueryError { span: span.start..span.start + name.len(), message: unknown(name) }
                })?;
                let matcher = Matcher::parse(*field, value).map_err(|error| QueryError {
                    span: span.start + name.len() + 1..span.end,
                    message: error.to_string(),
                })?;
                Expr::Term(*field, matcher)
            }
            _ => Expr::Text(unquote(word)),
        };
        self.next += 1;
        Ok(expr)
    }
}

/// Returns a known field in a later alternative of a value, where the writer probably meant an OR of
/// two terms.
fn second_field(value: &str) -> Option<&'static str> {
    let alternatives = value.split('|').skip(1).filter(|_| !value.starts_with('~'));
    let names = alternatives.filter_map(|part| part.split_once(':')).map(|(name, _)| name);
    Field::ALL.iter().map(|field| field.word()).find(|word| names.clone().any(|name| name == *word))
}

fn unknown(name: &str) -> String {
    /// Maximum number of letters by which a misspelled name differs.
    const NEAR: usize = 2;
    let starts = |field: &&Field| field.word().starts_with(name) || name.starts_with(field.word());
    let distance = |field: &Field| strsim::osa_distance(field.word(), name);
    let near = Field::ALL.iter().find(starts).or_else(|| {
        Field::ALL.iter().filter(|field| distance(field) <= NEAR).min_by_key(|field| distance(field))
    });
    match near {
        Some(field) => format!("no field '{name}'; did you mean {}: ?", field.word()),
        None => {
            let fields: Vec<&str> = Field::ALL.iter().map(|field| field.word()).collect();
            format!("no field '{name}'; the fields are {}", fields.join(" "))
        }
    }
}
