//! Expressions of drivers: which of them Blender works out although scripts are off.
//!
//! Blender has two ways. A small evaluator of its own knows numbers, `+ - * /`, comparisons, `and or not`,
//! `a if c else b` and some functions. Else Python works the expression out if nothing in it can do harm: names of a short
//! list and of the module `math`, operators, indices, but no attributes, functions, loops or methods. Found by trying
//! expressions in Blender 4.5 and 5.0.

/// Functions and constants that may be used: Blender's own list, then what `math` has.
const NAMES: &[&str] = &[
    "frame",
    "all",
    "any",
    "len",
    "max",
    "min",
    "pow",
    "round",
    "sum",
    "bool",
    "float",
    "int",
    "clamp",
    "lerp",
    "smoothstep",
    "True",
    "False",
    "None",
    "and",
    "or",
    "not",
    "if",
    "else",
    "in",
    "is",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "comb",
    "copysign",
    "cos",
    "cosh",
    "degrees",
    "dist",
    "e",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "factorial",
    "floor",
    "fmod",
    "frexp",
    "fsum",
    "gamma",
    "gcd",
    "hypot",
    "inf",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isqrt",
    "lcm",
    "ldexp",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "modf",
    "nan",
    "nextafter",
    "perm",
    "pi",
    "prod",
    "radians",
    "remainder",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "tau",
    "trunc",
];
/// Known to Blender's evaluator and not among the harmless names.
const EVALUATOR_ONLY: &str = "abs";

/// A part of an expression.
enum Token<'a> {
    Name(&'a str),
    Number,
    Text,
    Sign(char),
}

/// Does this expression stand still without Python? Its own variables are known to it.
pub(crate) fn need_python(expression: &str, variables: &[String]) -> bool {
    let Some(tokens) = tokens(expression) else {
        return true;
    };
    let is_variable = |name: &str| variables.iter().any(|variable| variable == name);
    let mut needs_evaluator = false;
    for token in &tokens {
        match token {
            // What follows a point is an attribute; the point of a number is part of it.
            Token::Sign('.' | ';') => return true,
            Token::Name(name) if is_variable(name) || NAMES.contains(name) => {}
            Token::Name(name) if *name == EVALUATOR_ONLY => needs_evaluator = true,
            Token::Name(_) => return true,
            _ => {}
        }
    }
    needs_evaluator && !fits_evaluator(&tokens)
}

/// Has it only what Blender's own evaluator knows?
fn fits_evaluator(tokens: &[Token<'_>]) -> bool {
    let is_doubled = |pair: &[Token<'_>]| {
        matches!(
            pair,
            [Token::Sign('*'), Token::Sign('*')] | [Token::Sign('/'), Token::Sign('/')]
        )
    };
    let is_known = |token: &Token<'_>| match token {
        Token::Sign(sign) => "+-*/<>=!(),".contains(*sign),
        Token::Name(name) => !matches!(*name, "in" | "is" | "None"),
        Token::Number => true,
        Token::Text => false,
    };
    tokens.iter().all(is_known) && !tokens.windows(2).any(is_doubled)
}

/// The parts of an expression; none where a text does not end.
fn tokens(expression: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let after_point = rest[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        let (token, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = end_of(rest, |c| c.is_alphanumeric() || c == '_');
                (Token::Name(&rest[..length]), length)
            }
            '0'..='9' => (Token::Number, end_of_number(rest)),
            '.' if after_point => (Token::Number, end_of_number(rest)),
            '\'' | '"' => (Token::Text, rest[1..].find(first)? + 2),
            sign => (Token::Sign(sign), sign.len_utf8()),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

fn end_of(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn end_of_number(text: &str) -> usize {
    let mut end = end_of(text, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if text[..end].ends_with(['e', 'E']) && text[end..].starts_with(['+', '-']) {
        end += 1 + end_of(&text[end + 1..], |c| c.is_ascii_digit());
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Blender 5.0 decided with scripts off, with a variable `v`.
    #[test]
    fn expressions_that_blender_works_out_need_no_python() {
        let variables = ["v".to_owned()];
        for expression in [
            "frame % 2",
            "abs(frame)",
            "frame//2",
            "sin(frame)",
            "frame**2",
            "[1,2][0]",
            "len([1])",
            "max(1,2) if frame>3 else 0",
            "sum([frame,1])",
            "1_000*frame",
            "'a'=='b'",
            "e*frame",
            "int(frame) & 1",
            "None is None",
            "1.e3*frame",
            "1e5+frame",
            "-frame",
            "not frame",
            "log(frame,2)",
            "hypot(frame,1)",
            "v*2",
            "v >= .5",
            "v != 1e-3",
            "abs(v) <= 2",
        ] {
            assert!(!need_python(expression, &variables), "{expression}");
        }
        for expression in [
            "abs(frame) % 3",
            "self.location.x",
            "noise.random()",
            "bpy.context.scene.frame_current",
            "(lambda: 1)()",
            "frame.real",
            "sum(i for i in [1,2])",
            "3 .real",
            "depsgraph",
            "globals()",
            "math.sin(frame)",
            "1;2",
            "vv*2",
            "v.x",
            "abs(v) // 2",
            "'open",
            "f'{v}'",
        ] {
            assert!(need_python(expression, &variables), "{expression}");
        }
    }
}
