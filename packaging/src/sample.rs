//! Configuration samples: every key with its default, as a comment.

use crate::keys::{File, Without};

/// Length of a line of text.
const WIDTH: usize = 110;

/// The sample of a file: text in comments behind `# `, keys behind `#` alone.
pub fn of(file: &File) -> String {
    let mut text = comment(file.head);
    text.push_str(&comment(&format!(
        "Every key stands in {}(5). Those that begin with # show what holds without them.",
        file.page
    )));
    for table in file.tables {
        if !table.sample.is_empty() {
            text.push_str(&format!("\n{}#{}\n", comment(table.text), table.sample));
        }
        for key in table.keys {
            let without = match key.without {
                Without::Default => String::new(),
                Without::Else(what) => format!(" Without it: {what}."),
                Without::Refused => " It must be there.".to_owned(),
            };
            let space = if table.sample.is_empty() { "\n" } else { "" };
            text.push_str(&format!(
                "{space}{}#{} = {}\n",
                comment(&format!("{}{without}", key.text)),
                key.name,
                key.value
            ));
        }
    }
    text
}

fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}
