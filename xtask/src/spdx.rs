//! Licence expressions: `(MIT OR Apache-2.0) AND Unicode-3.0`. Is one acceptable, given those that are?

/// Whether the terms can be met with nothing but what `allowed` accepts. A licence `WITH` an exception is one term.
pub(crate) fn acceptable(expression: &str, allowed: &impl Fn(&str) -> bool) -> Result<bool, String> {
    // Older packages write a slash where OR is meant.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut parser = Parser { words: spaced.split_whitespace().collect(), at: 0, allowed };
    let accepted = parser.any()?;
    match parser.peek() {
        None => Ok(accepted),
        Some(word) => Err(format!("unexpected {word:?}")),
    }
}

struct Parser<'a, F> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a F,
}

impl<F: Fn(&str) -> bool> Parser<'_, F> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).copied()
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut accepted = self.all()?;
        while self.accept("OR") {
            accepted |= self.all()?;
        }
        Ok(accepted)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut accepted = self.term()?;
        while self.accept("AND") {
            accepted &= self.term()?;
        }
        Ok(accepted)
    }

    fn term(&mut self) -> Result<bool, String> {
        if self.accept("(") {
            let accepted = self.any()?;
            return if self.accept(")") { Ok(accepted) } else { Err("a ) is missing".to_owned()) };
        }
        let licence = self.word()?;
        if self.accept("WITH") {
            let exception = self.word()?;
            return Ok((self.allowed)(&format!("{licence} WITH {exception}")));
        }
        Ok((self.allowed)(&licence))
    }

    fn word(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(word) if !["AND", "OR", "WITH", "(", ")"].contains(&word) => {
                let word = word.to_owned();
                self.at += 1;
                Ok(word)
            }
            other => Err(format!("a licence is missing before {:?}", other.unwrap_or("the end"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_their_authors_meant_them() {
        let allowed = |licence: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&licence);
        let check = |expression: &str, expected: Result<bool, &str>| {
            assert_eq!(acceptable(expression, &allowed), expected.map_err(str::to_owned), "{expression}");
        };
        check("MIT", Ok(true));
        check("GPL-3.0", Ok(false));
        check("MIT OR GPL-3.0", Ok(true));
        check("GPL-3.0/MIT", Ok(true));
        check("MIT AND GPL-3.0", Ok(false));
        check("GPL-3.0 AND ISC OR MIT", Ok(true));
        check("(GPL-3.0 OR MIT) AND ISC", Ok(true));
        check("(GPL-3.0 OR MIT) AND Zlib", Ok(false));
        check("Apache-2.0 WITH LLVM-exception OR Apache-2.0", Ok(true));
        check("Apache-2.0", Ok(false));
        check("MIT OR", Err("a licence is missing before \"the end\""));
        check("(MIT", Err("a ) is missing"));
        check("MIT ISC", Err("unexpected \"ISC\""));
    }
}
