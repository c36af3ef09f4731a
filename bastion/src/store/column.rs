//! Our types as columns: times are milliseconds since 1970, names and keys are text.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, RowIndex};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A time in whole milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time.as_millisecond())
    }
}

impl From<Time> for Timestamp {
    fn from(Time(millis): Time) -> Self {
        let range = Self::MIN.as_millisecond()..=Self::MAX.as_millisecond();
        Self::from_millisecond(millis.clamp(*range.start(), *range.end())).expect("clamped into the range of times")
    }
}

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

/// A value that is stored as its text.
#[derive(Debug, Clone)]
pub struct Text<T>(pub T);

impl<T: Display> ToSql for Text<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl<T: FromStr> FromSql for Text<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(|_| FromSqlError::Other("not what this column holds".into()))
    }
}

/// A value that is stored as JSON.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(serde_json::to_string(&self.0).expect("plain text and numbers").into())
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// A column whose text is parsed into its type.
pub fn text<T: FromStr>(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<T> {
    row.get(column).map(|Text(value)| value)
}

/// A column that says the same in most rows, as names of hosts and interfaces do: parsed when it says something else.
#[derive(Debug)]
pub struct Repeated<T>(Option<(String, T)>);

impl<T> Default for Repeated<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: FromStr + Clone> Repeated<T> {
    /// The column in this row.
    pub fn text(&mut self, row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
        let said = row.get_ref(column)?.as_str()?;
        match &self.0 {
            Some((text, value)) if text == said => Ok(value.clone()),
            _ => {
                let (said, value) = (said.to_owned(), text::<T>(row, column)?);
                self.0 = Some((said, value.clone()));
                Ok(value)
            }
        }
    }
}

/// The same for a column that may be empty.
pub fn text_or_none<T: FromStr>(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Option<T>> {
    row.get::<_, Option<Text<T>>>(column).map(|value| value.map(|Text(value)| value))
}

/// A column that holds a time.
pub fn time(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Timestamp> {
    row.get::<_, Time>(column).map(Timestamp::from)
}

/// The same for a column that may be empty.
pub fn time_or_none(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<Time>>(column).map(|time| time.map(Timestamp::from))
}
