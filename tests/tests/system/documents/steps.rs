//! What a text tells its reader to do: blocks to run and files to carry.

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Give these commands on that machine: a block of `sh` whose first line is `# on MACHINE`.
    Run { on: String, text: String },
    /// Copy a file: "Carry `FILE` from MACHINE to MACHINE".
    Carry { file: String, from: String, to: String },
    /// See this: lines of a block of `text`.
    See { lines: Vec<String> },
}

/// The blocks and the sentences, in their order.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for (number, part) in text.split("```").enumerate() {
        if number % 2 == 0 {
            steps.extend(carried(part));
        } else if let Some(block) = part.strip_prefix("sh\n") {
            let lines = lines(block);
            let on = lines[0].strip_prefix("# on ").unwrap_or_else(|| panic!("a block begins with a machine:\n{part}"));
            let on = on.trim_start_matches("the ").to_owned();
            steps.push(Step::Run { on, text: format!("{}\n", lines.join("\n")) });
        } else if let Some(block) = part.strip_prefix("text\n") {
            let lines = lines(block).into_iter().filter(|line| !line.is_empty()).map(str::to_owned).collect();
            steps.push(Step::See { lines });
        }
    }
    steps
}

/// The lines of a block without what all are indented by.
fn lines(block: &str) -> Vec<&str> {
    let indent = block.len() - block.trim_start().len();
    block.lines().map(|line| line.get(indent..).unwrap_or_default()).collect()
}

fn carried(prose: &str) -> Vec<Step> {
    let words: Vec<&str> = prose.split_whitespace().filter(|word| *word != "the").collect();
    let mut found = Vec::new();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == "Carry") {
        let mut rest = words[at + 1..].iter();
        let file = rest.next().expect("a file is carried").trim_matches('`').to_owned();
        let from = place(&mut rest, "from", &words[at..]);
        let to = place(&mut rest, "to", &words[at..]);
        found.push(Step::Carry { file, from, to });
    }
    found
}

/// A machine behind this word; `each` takes one word more.
fn place<'a>(rest: &mut impl Iterator<Item = &'a &'a str>, before: &str, sentence: &[&str]) -> String {
    assert_eq!(rest.next(), Some(&before), "{sentence:?}");
    let mut name = || rest.next().expect("a machine").trim_matches(['`', '.', ',', ';', ':']).to_owned();
    match name() {
        each if each == "each" => format!("each {}", name()),
        name => name,
    }
}
