//! The functions that templates may call: logic, comparison, `index` and `len`.
//!
//! Types are as strict as in Go, where every number from JSON is a float: a
//! float compares with `3.0`, not with `3`.

use core::cmp::Ordering;

use crate::catalog::problem::{Reason, reason};
use crate::catalog::value::Value;

/// Most arguments of one call.
pub(super) const MAX_ARGUMENTS: usize = 8;

/// A function of Go's templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Index,
    Len,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Self::And,
            "or" => Self::Or,
            "not" => Self::Not,
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "lt" => Self::Lt,
            "le" => Self::Le,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "index" => Self::Index,
            "len" => Self::Len,
            _ => return None,
        })
    }

    pub(super) const fn takes(self, arguments: usize) -> bool {
        match self {
            Self::And | Self::Or | Self::Index => arguments >= 1,
            Self::Not | Self::Len => arguments == 1,
            Self::Eq => arguments >= 2,
            Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge => arguments == 2,
        }
    }

    /// Whether the arguments after this one are not looked at.
    pub(super) fn decides(self, argument: Value<'_>) -> bool {
        match self {
            Self::And => !argument.is_true(),
            Self::Or => argument.is_true(),
            _ => false,
        }
    }

    pub(super) fn apply<'a>(self, arguments: &[Value<'a>]) -> Result<Value<'a>, Reason> {
        let [first, rest @ ..] = arguments else {
            return Ok(Value::Nil);
        };
        let ordered = |yes: fn(Ordering) -> bool| {
            let second = rest.first().copied().unwrap_or(Value::Nil);
            Ok(Value::Bool(yes(order(*first, second)?)))
        };
        match self {
            Self::And | Self::Or => {
                let decisive = arguments.iter().find(|a| self.decides(**a));
                Ok(*decisive.or(arguments.last()).unwrap_or(first))
            }
            Self::Not => Ok(Value::Bool(!first.is_true())),
            Self::Eq | Self::Ne => {
                for other in rest {
                    if equal(*first, *other)? {
                        return Ok(Value::Bool(self == Self::Eq));
                    }
                }
                Ok(Value::Bool(self == Self::Ne))
            }
            Self::Lt => ordered(Ordering::is_lt),
            Self::Le => ordered(Ordering::is_le),
            Self::Gt => ordered(Ordering::is_gt),
            Self::Ge => ordered(Ordering::is_ge),
            Self::Index => index(*first, rest),
            Self::Len => len(*first),
        }
    }
}

fn unlike(a: Value<'_>, b: Value<'_>) -> Reason {
    let hint = match (a, b) {
        (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => {
            ": write 3.0 instead of 3"
        }
        _ => "",
    };
    let (a, b) = (a.type_name(), b.type_name());
    reason(format_args!("{a} and {b} do not compare{hint}"))
}

fn equal(a: Value<'_>, b: Value<'_>) -> Result<bool, Reason> {
    Ok(match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Nil, _) | (_, Value::Nil) => false,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        _ => return Err(unlike(a, b)),
    })
}

fn order(a: Value<'_>, b: Value<'_>) -> Result<Ordering, Reason> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(&b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(&b),
        (Value::Text(a), Value::Text(b)) => a.partial_cmp(&b),
        _ => None,
    }
    .ok_or_else(|| unlike(a, b))
}

/// `index x 1 "a"` is `x[1]["a"]`. A key that is not there gives nil, or,
/// among the labels of a request, empty text.
fn index<'a>(first: Value<'a>, keys: &[Value<'a>]) -> Result<Value<'a>, Reason> {
    use crate::catalog::value::Map;
    let mut value = first;
    for key in keys {
        value = match (value, *key) {
            (Value::Map(map), Value::Text(key)) => map.get(key).unwrap_or(match map {
                Map::Query(_) => "".into(),
                _ => Value::Nil,
            }),
            (Value::List(list), Value::Int(at)) => {
                let item = usize::try_from(at).ok().and_then(|at| list.items().nth(at));
                item.ok_or_else(|| reason(format_args!("{at} is out of range")))?
                    .into()
            }
            (Value::Map(_) | Value::List(_), key) => {
                let kind = key.type_name();
                return Err(reason(format_args!("{kind} is no index here")));
            }
            (other, _) => {
                let kind = other.type_name();
                return Err(reason(format_args!("{kind} has nothing inside")));
            }
        };
    }
    Ok(value)
}

fn len(value: Value<'_>) -> Result<Value<'_>, Reason> {
    let len = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.items().count(),
        Value::Map(map) => map.sorted().count(),
        other => {
            let kind = other.type_name();
            return Err(reason(format_args!("{kind} has no length")));
        }
    };
    Ok(Value::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}
