//! What expressions give, through the public face.

use buildplane_expr::{Arity, Environment, Error, Limits, Outcome};
use serde_json::{Value, json};

fn run(source: &str, input: &Value) -> Result<Outcome, Error> {
    let program = Environment::standard().compile(source, &["self", "p"])?;
    program.evaluate(&[("self", input), ("p", input)], &Limits::default())
}

fn check(source: &str, expected: Value) {
    check_on(&json!({}), source, expected);
}

fn check_on(input: &Value, source: &str, expected: Value) {
    assert_eq!(run(source, input), Ok(Outcome::Value(expected)), "{source}");
}

fn failure(source: &str) -> Error {
    run(source, &json!({"a": 1, "text": "x", "list": [1]})).expect_err(source)
}

#[test]
fn literals_and_operators() {
    for (source, expected) in [
        ("1 + 2 * 3", json!(7)),
        ("-7 / 2", json!(-3)),
        ("7 % 4", json!(3)),
        ("1.5 + 1", json!(2.5)),
        ("'a' + \"b\"", json!("ab")),
        ("[1] + [2, 3]", json!([1, 2, 3])),
        ("1 == 1.0 && 2 > 1.5 && 1 < 2", json!(true)),
        ("9007199254740993 > 9007199254740992.0", json!(true)),
        ("'a' < 'b' && [1, 2] == [1.0, 2]", json!(true)),
        ("{'a': 1} == {'a': 1.0}", json!(true)),
        ("1 == 'a'", json!(false)),
        ("null == null", json!(true)),
        ("2 in [1, 2] && 'k' in {'k': 1} && !(3 in [1])", json!(true)),
        ("true ? 'yes' : 'no'", json!("yes")),
        ("{1: 'a', true: 'b', 'c': 'd'}", json!({"1": "a", "true": "b", "c": "d"})),
        ("[1, 2, 3][1.0]", json!(2)),
        ("5u + 1u", json!(6)),
        ("b'abc'", json!("YWJj")),
        ("'\\u00e4'.size()", json!(1)),
    ] {
        check(source, expected);
    }
}

#[test]
fn json_numbers_keep_their_kind() {
    let input = json!({"n": 3, "big": 1_000_000, "huge": u64::MAX, "f": 2.5, "whole": 2.0});
    check_on(&input, "self.n + 1", json!(4));
    check_on(&input, "self.n / 2", json!(1));
    check_on(&input, "string(self.big)", json!("1000000"));
    check_on(&input, "string(self.whole)", json!("2"));
    check_on(&input, "string(1e21)", json!("1000000000000000000000"));
    check_on(&input, "self.f * 2", json!(5.0));
    check_on(&input, "self.huge > 1", json!(true));
    check_on(&input, "type(self.n) == int && type(self.f) == double", json!(true));
}

#[test]
fn a_decided_side_wins_over_an_error() {
    check("false && self.missing", json!(false));
    check("self.missing && false", json!(false));
    check("self.missing || true", json!(true));
    check("[1, 0, 2].exists(x, 4 / x == 2)", json!(true));
    check("[0, 3].all(x, 6 / x > 5)", json!(false));
    assert!(matches!(failure("self.missing || false"), Error::NoSuchKey { key } if key == "missing"));
}

#[test]
fn macros() {
    for (source, expected) in [
        ("has(self.a) && !has(self.b)", json!(true)),
        ("has(self['a']) && !has(self['b'])", json!(true)),
        ("[1, 2, 3].filter(x, x > 1).map(x, x * 2)", json!([4, 6])),
        ("[1, 2, 3].map(x, x > 1, x + 1)", json!([3, 4])),
        ("[1, 2].exists_one(x, x == 2)", json!(true)),
        ("{'b': 1, 'a': 2}.map(k, k)", json!(["a", "b"])),
        ("[5, 6].transformList(i, v, i * v)", json!([0, 6])),
        ("[5, 6].transformList(i, v, i > 0, v)", json!([6])),
        ("{'a': 1}.transformMap(k, v, k + string(v))", json!({"a": "a1"})),
        ("['x', 'y'].transformMapEntry(i, v, {v: i})", json!({"x": 0, "y": 1})),
        ("{'a': 1, 'b': 2}.all(k, v, v > 0 && k != '')", json!(true)),
        ("[3, 4].exists(i, v, i == 1 && v == 4)", json!(true)),
        ("[3, 4].existsOne(i, v, v > 3)", json!(true)),
        ("cel.bind(x, 2, x * x)", json!(4)),
        ("cel.bind(x, 2, [1, 2].map(y, cel.bind(z, x + y, z)))", json!([3, 4])),
        ("['bb', 'a'].sortBy(x, size(x))", json!(["a", "bb"])),
        ("[1].map(self, self + 1)", json!([2])),
    ] {
        check_on(&json!({"a": 1}), source, expected);
    }
}

#[test]
fn optionals() {
    let input = json!({"a": {"b": 1}, "list": [7]});
    for (source, expected) in [
        ("self.?a.?b.orValue(0)", json!(1)),
        ("self.?x.b.orValue(5)", json!(5)),
        ("self.list[?3].orValue(9)", json!(9)),
        ("self.?x.hasValue()", json!(false)),
        ("{?'k': self.?x, 'l': 1}", json!({"l": 1})),
        ("[?self.?x, 2]", json!([2])),
        ("optional.of(2).optMap(v, v + 1).value()", json!(3)),
        ("optional.of(2).optFlatMap(v, optional.none()).hasValue()", json!(false)),
        ("optional.ofNonZeroValue('').or(optional.of('d')).value()", json!("d")),
        ("has(self.?a.b)", json!(true)),
    ] {
        check_on(&input, source, expected);
    }
    assert_eq!(run("self.?x", &input), Ok(Outcome::Absent));
}

#[test]
fn strings() {
    for (source, expected) in [
        ("'hello'.charAt(1)", json!("e")),
        ("'hello hello'.indexOf('lo')", json!(3)),
        ("'hello hello'.indexOf('lo', 5)", json!(9)),
        ("'hello hello'.lastIndexOf('he')", json!(6)),
        ("'hello hello'.lastIndexOf('he', 5)", json!(0)),
        ("'äb'.indexOf('b')", json!(1)),
        ("['a', 'b'].join('-')", json!("a-b")),
        ("'Ab'.lowerAscii() + 'Ab'.upperAscii()", json!("abAB")),
        ("'aXbX'.replace('X', '-')", json!("a-b-")),
        ("'aXbX'.replace('X', '-', 1)", json!("a-bX")),
        ("'abc'.reverse()", json!("cba")),
        ("'a,b,c'.split(',')", json!(["a", "b", "c"])),
        ("'a,b,c'.split(',', 2)", json!(["a", "b,c"])),
        ("'abc'.split('')", json!(["a", "b", "c"])),
        ("'a,b'.split(',', 0)", json!([])),
        ("'hello'.substring(1, 3) + 'hello'.substring(4)", json!("elo")),
        ("'  x '.trim()", json!("x")),
        ("'abc'.matches('^a.c$') && matches('abc', 'b')", json!(true)),
        ("'a1b22'.find('[0-9]+') + ''", json!("1")),
        ("'a1b22'.findAll('[0-9]+')", json!(["1", "22"])),
        ("'a1b22'.findAll('[0-9]+', 1)", json!(["1"])),
        ("'%s-%d'.format(['a', 5])", json!("a-5")),
        ("strings.quote('a\"b')", json!("\"a\\\"b\"")),
        ("'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.contains('b')", json!(true)),
        ("base64.encode(b'hi') + string(base64.decode('aGk='))", json!("aGk=hi")),
    ] {
        check(source, expected);
    }
}

#[test]
fn lists_sets_and_math() {
    for (source, expected) in [
        ("[3, 1, 2].sort()", json!([1, 2, 3])),
        ("[1, 2, 3, 4].slice(1, 3)", json!([2, 3])),
        ("[1, [2, [3]]].flatten()", json!([1, 2, [3]])),
        ("[1, [2, [3]]].flatten(2)", json!([1, 2, 3])),
        ("[1, 2, 1.0].distinct()", json!([1, 2])),
        ("lists.range(3).reverse()", json!([2, 1, 0])),
        ("[1, 2, 2].isSorted() && ![2, 1].isSorted()", json!(true)),
        ("[1, 2.5].sum()", json!(3.5)),
        ("[].sum()", json!(0)),
        ("[2, 1].min() + [1, 2].max()", json!(3)),
        ("['b', 'a', 'b'].indexOf('b') + ['b', 'a', 'b'].lastIndexOf('b')", json!(2)),
        ("[1].first().value() + [1, 5].last().value()", json!(6)),
        ("sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1])", json!(true)),
        ("sets.intersects([1, 2], [2, 3])", json!(true)),
        ("math.greatest(1, 3, 2) + math.least([4, 5])", json!(7)),
        ("math.ceil(1.2) + math.abs(-1)", json!(3.0)),
        ("math.bitAnd(6, 3)", json!(2)),
        ("size([1]) + size({'a': 1}) + 'ab'.size() + b'a'.size()", json!(5)),
    ] {
        check(source, expected);
    }
}

#[test]
fn durations_and_timestamps_are_printed_as_kubernetes_does() {
    for (source, expected) in [
        ("duration('90m')", json!("1h30m0s")),
        ("duration('1.5s')", json!("1.5s")),
        ("duration('0s')", json!("0s")),
        ("duration('-61s')", json!("-1m1s")),
        ("duration('1500us')", json!("1.5ms")),
        ("timestamp('2024-02-29T12:00:05+02:00')", json!("2024-02-29T10:00:05Z")),
        ("timestamp('2024-12-31T23:59:59.25Z') + duration('1s')", json!("2025-01-01T00:00:00.25Z")),
        ("string(timestamp('1969-12-31T00:00:00Z'))", json!("1969-12-31T00:00:00Z")),
        ("timestamp('2024-02-29T00:00:00Z').getFullYear()", json!(2024)),
        ("duration('1h') > duration('1m') && duration('60s') == duration('1m')", json!(true)),
        ("timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z')", json!("24h0m0s")),
    ] {
        check(source, expected);
    }
}

#[test]
fn conversions() {
    for (source, expected) in [
        ("int('42') + int(3.9)", json!(45)),
        ("double('1.5') + double(1)", json!(2.5)),
        ("bool('true')", json!(true)),
        ("string(true) + string(1) + string(1.5)", json!("true11.5")),
        ("int(uint(3))", json!(3)),
        ("dyn(1) == 1", json!(true)),
        (
            "type('') == string && type([]) == list && type(duration('1s')) == google.protobuf.Duration",
            json!(true),
        ),
    ] {
        check(source, expected);
    }
}

#[test]
fn errors_are_told_apart_by_variant() {
    assert!(matches!(failure("nope"), Error::UndeclaredReference { name } if name == "nope"));
    assert!(matches!(failure("nope(1)"), Error::UnknownFunction { name } if name == "nope"));
    assert!(matches!(failure("self.a.nope()"), Error::UnknownFunction { name } if name == "nope"));
    assert!(matches!(failure("self.b"), Error::NoSuchKey { key } if key == "b"));
    assert!(matches!(failure("self.list[5]"), Error::IndexOutOfRange { length: 1, .. }));
    assert!(
        matches!(failure("self.a + self.text"), Error::NoSuchOverload { types, .. } if types == ["int", "string"])
    );
    assert!(matches!(failure("self.a / 0"), Error::Arithmetic { .. }));
    assert!(matches!(failure("9223372036854775807 + 1"), Error::Arithmetic { .. }));
    assert!(matches!(failure("1 +"), Error::Syntax { line: 1, .. }));
    assert!(matches!(failure("'a'.startsWith()"), Error::InvalidCall { .. }));
    assert!(matches!(failure("has(1)"), Error::InvalidCall { .. }));
    assert!(matches!(failure("{'a': 1, 'a': 2}"), Error::DuplicateKey { .. }));
    assert!(matches!(failure("'a'.matches('(')"), Error::InvalidArgument { .. }));
    assert!(matches!(failure("int('x')"), Error::InvalidArgument { .. }));
    assert!(matches!(failure("Foo{a: 1}"), Error::UndeclaredReference { .. }));
    assert!(matches!(failure("'%.999999999f'.format([1.0])"), Error::InvalidArgument { .. }));
    let unbound =
        Environment::standard().compile("self", &["self"]).unwrap().evaluate(&[], &Limits::default());
    assert_eq!(unbound, Err(Error::Unbound { name: "self".to_owned() }));
}

#[test]
fn bombs_are_refused() {
    let double = |depth: usize, form: &str| {
        (0..depth).fold("a".to_owned(), |body, _| format!("cel.bind(a, {form}, {body})"))
    };
    let text_bomb = format!("cel.bind(a, 'xxxxxxxxxxxxxxxx', {})", double(60, "a + a"));
    assert!(matches!(failure(&text_bomb), Error::Limit(_)));
    let list_bomb = format!("cel.bind(a, ['xxxxxxxxxxxxxxxx'], {})", double(60, "[a, a]"));
    assert!(matches!(failure(&list_bomb), Error::Limit(_)));
    let equality_bomb = format!("cel.bind(a, ['x'], cel.bind(b, ['x'], {}))", double(60, "[a, a]"));
    assert!(matches!(failure(&format!("({equality_bomb}) == ({equality_bomb})")), Error::Limit(_)));
    let loops = "lists.range(1000).map(x, lists.range(1000).map(y, lists.range(1000)))";
    assert!(matches!(failure(loops), Error::Limit(_)));
    let absorbed = "lists.range(100000).map(x, lists.range(100000)) == [] || true";
    assert!(matches!(failure(absorbed), Error::Limit(_)));
    assert!(matches!(failure("lists.range(90000000)"), Error::InvalidArgument { .. }));
    let replace = "cel.bind(a, lists.range(50000).map(x, 'xx').join(), a.replace('', a))";
    assert!(matches!(failure(replace), Error::Limit(_)));
    assert!(matches!(failure(&"x".repeat(9000)), Error::Limit(_)));
}

#[test]
fn nesting_is_refused_before_it_exhausts_the_stack() {
    // Tokio's workers have 2 MiB; half of it must do, also in a debug build.
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{1:", "}"), ("[self].map(x, ", ")"), ("-", ""), ("!", "")]
        {
            let nested = |depth: usize| format!("{}true{}", open.repeat(depth), close.repeat(depth));
            for depth in [20, 40, 60, 80, 90, 95] {
                let _ = run(&nested(depth), &json!({}));
            }
            for depth in [150, 1000, 1900] {
                let outcome = run(&nested(depth), &json!({}));
                // The parser folds pairs of these away.
                assert!(outcome.is_err() || "!-".contains(open), "{open} {depth}");
            }
        }
        for operator in ["+", "&&", "||", "==", ".", "?self:"] {
            for n_terms in [50, 120, 900] {
                let chain = vec!["self"; n_terms].join(operator);
                assert!(n_terms < 900 || run(&chain, &json!(1)).is_err(), "{operator} {n_terms}");
                let _ = run(&chain, &json!("x"));
            }
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn added_functions_work_on_json() {
    let environment = Environment::standard()
        .with_function("drop", Arity::Exactly(0), |_| Ok(Outcome::Absent))
        .with_function("count", Arity::AtLeast(1), |values| Ok(Outcome::Value(json!(values.len()))))
        .with_function("refuse", Arity::Exactly(1), |_| Err("not today".to_owned()));
    let run = |source: &str| {
        let program = environment.compile(source, &[])?;
        program.evaluate(&[], &Limits::default())
    };
    assert_eq!(run("['a', false ? 'b' : drop(), 'c']"), Ok(Outcome::Value(json!(["a", "c"]))));
    assert_eq!(run("{'n': drop()}"), Ok(Outcome::Value(json!({}))));
    assert_eq!(run("[drop()]"), Ok(Outcome::Value(json!([]))));
    assert_eq!(run("drop()"), Ok(Outcome::Absent));
    assert_eq!(run("count(1, [2])"), Ok(Outcome::Value(json!(2))));
    assert!(matches!(run("count()"), Err(Error::InvalidCall { .. })));
    assert!(
        matches!(run("refuse(1)"), Err(Error::InvalidArgument { message, .. }) if message == "not today")
    );
}

#[test]
fn programs_know_what_they_mention() {
    let program = Environment::standard()
        .compile("self.a.b + p['c-d'] + [1].map(self, self.x)[0] + (has(p.e) ? 1 : 0)", &["self", "p", "q"])
        .unwrap();
    assert_eq!(program.variables(), ["p", "self"].into());
    assert_eq!(program.members("self"), ["a"].into());
    assert_eq!(program.members("p"), ["c-d", "e"].into());
    assert!(program.members("q").is_empty());
}

#[test]
fn kubernetes_field_escapes() {
    let environment = Environment::standard().with_escaped_fields();
    let input = json!({"a.b": 1, "namespace": 2, "x-y": 3, "u__v": 4});
    for (source, expected) in [
        ("self.a__dot__b", 1),
        ("self.__namespace__", 2),
        ("self.x__dash__y", 3),
        ("self.u__underscores__v", 4),
    ] {
        let program = environment.compile(source, &["self"]).unwrap();
        let outcome = program.evaluate(&[("self", &input)], &Limits::default());
        assert_eq!(outcome, Ok(Outcome::Value(json!(expected))), "{source}");
    }
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(
        &Environment::standard()
            .compile("'a'.matches('a') && duration('1s') == duration('1s')", &[])
            .unwrap(),
    );
}

mod any_source {
    use proptest::prelude::*;

    use super::*;

    /// Pieces that make up most expressions, and some that make up none.
    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "self",
            "p",
            ".a",
            ".?b",
            "[0]",
            "[?1]",
            "1",
            "2.5",
            "'x'",
            "\"",
            "'",
            "\\",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ", ",
            ": ",
            " + ",
            " - ",
            " / ",
            " && ",
            " || ",
            " == ",
            " in ",
            "!",
            "-",
            " ? ",
            "has(",
            ".map(x, ",
            ".all(x, ",
            ".matches(",
            ".format(",
            "timestamp(",
            "duration('1h')",
            "5u",
            "b'a'",
            "true",
            "null",
            "cel.bind(y, ",
            "`",
            "\n",
            "é",
            "$",
            "9223372036854775807",
            ".sum()",
            ".sort()",
            ".split('')",
            "lists.range(",
            "math.greatest(",
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn never_panics_and_never_outlives_its_limits(pieces in prop::collection::vec(piece(), 0..24)) {
            let source = pieces.concat();
            let input = json!({"a": [1, 2.5, "s", null], "b": {"c": true}});
            let limits = Limits { cost: 10_000, ..Limits::default() };
            if let Ok(program) = Environment::standard().compile(&source, &["self", "p"]) {
                let _ = program.evaluate(&[("self", &input), ("p", &input)], &limits);
            }
        }

        #[test]
        fn any_text_is_refused_or_compiles(source in ".{0,80}") {
            let _ = Environment::standard().compile(&source, &["self"]);
        }
    }
}
