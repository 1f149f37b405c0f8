//! Expected outputs are those of Go's `text/template` with `missingkey=error`.

use super::super::{Labels, json};
use super::*;

const METADATA: &str = r#"{
    "s": "text", "empty": "", "n": 3, "big": 1000000, "f": 2.5, "yes": true, "no": false,
    "nil": null, "list": ["a", "b"], "none": [], "map": {"z": 1, "a": {"deep": "x"}},
    "esc": "tab\there \u00e9", "nodes": [{"name": "n1", "role": "cp"}, {"name": "n2", "role": "w"}],
    "ssh-key": "ssh-ed25519", "zero": 0, "nomap": {}
}"#;

fn run(source: &str) -> Result<String, Fault> {
    check(source)?;
    let labels = Labels::from_query([("mac", "52-54-00-12-34-56"), ("os", "installed")]).unwrap();
    let metadata = json::parse(METADATA.as_bytes()).unwrap();
    let data = Data::new(metadata, &labels, "mac=52-54-00-12-34-56&os=installed");
    let mut out = String::new();
    match render(source, &data, &mut out) {
        Ok(()) => Ok(out),
        Err(RenderError::Fault(fault)) => Err(fault),
        Err(RenderError::Sink) => panic!("a String takes everything"),
    }
}

#[test]
fn renders_as_go_does() {
    let table = [
        // Text, values and how they print.
        ("", ""),
        ("plain } }} {", "plain } }} {"),
        ("{{.s}}", "text"),
        ("{{ .s }}-{{\n.s\n}}", "text-text"),
        ("{{.n}} {{.big}} {{.f}} {{.zero}}", "3 1e+06 2.5 0"),
        ("{{.yes}}{{.no}}{{.nil}}", "truefalse<no value>"),
        (
            "{{.list}} {{.map}} {{.none}}",
            "[a b] map[a:map[deep:x] z:1] []",
        ),
        ("{{.map.a.deep}}", "x"),
        ("{{.esc}}", "tab\there é"),
        (
            "{{.request.query.mac}} {{.request.query.os}}",
            "52:54:00:12:34:56 installed",
        ),
        (
            "{{.request.raw_query}}",
            "mac=52-54-00-12-34-56&os=installed",
        ),
        (
            "{{$.s}} {{(.map).z}} {{(index .nodes 1).name}}",
            "text 1 n2",
        ),
        // Literals.
        ("{{\"a\\n\\\"b\\\"\"}}{{`c\\d`}}", "a\n\"b\"c\\d"),
        (
            "{{1}} {{-2}} {{+3}} {{1.50}} {{1e3}} {{true}}",
            "1 -2 3 1.5 1000 true",
        ),
        // Trimming and comments.
        ("a \n {{- .s -}} \n b", "atextb"),
        ("a {{.s -}} b {{- .s}} c", "a textbtext c"),
        ("a{{/* no }} here */}}b", "ab"),
        ("a {{- /* x */ -}} b", "ab"),
        ("{{-3}}", "-3"),
        ("{{- 3}}", "3"),
        // Conditions.
        ("{{if .yes}}y{{else}}n{{end}}", "y"),
        ("{{if .no}}y{{else}}n{{end}}", "n"),
        (
            "{{if .empty}}1{{else if .zero}}2{{else if .none}}3{{else if .nomap}}4{{else if .nil}}5{{else}}6{{end}}",
            "6",
        ),
        (
            "{{if .no}}a{{else if .yes}}b{{else if .missing}}c{{else}}d{{end}}",
            "b",
        ),
        (
            "{{if .yes}}{{if .no}}a{{else}}b{{end}}{{else}}{{if .no}}c{{else}}d{{end}}{{end}}",
            "b",
        ),
        (
            "{{if .no}}{{.missing}}{{range .missing}}x{{else}}y{{end}}{{end}}",
            "",
        ),
        ("{{if index . \"ssh_authorized_keys\"}}x{{end}}", ""),
        (
            "{{if index . \"ssh-key\"}}{{index . \"ssh-key\"}}{{end}}",
            "ssh-ed25519",
        ),
        ("{{with .map}}{{.z}}{{else}}no{{end}}", "1"),
        ("{{with .nil}}x{{else}}{{.s}}{{end}}", "text"),
        ("{{with .nil}}x{{else with .map.a}}{{.deep}}{{end}}", "x"),
        ("{{with $x := .map.a}}{{$x.deep}}{{$.s}}{{end}}", "xtext"),
        // Loops.
        ("{{range .list}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range $e := .list}}{{$e}}{{$.n}}{{end}}", "a3b3"),
        ("{{range $i, $e := .list}}{{$i}}={{$e}} {{end}}", "0=a 1=b "),
        (
            "{{range $k, $v := .map}}{{$k}}={{$v}} {{end}}",
            "a=map[deep:x] z=1 ",
        ),
        ("{{range .none}}x{{else}}empty{{end}}", "empty"),
        ("{{range .list}}x{{else}}empty{{end}}", "xx"),
        ("{{range .nil}}x{{else}}empty{{end}}", "empty"),
        (
            "{{range .nodes}}{{.name}}:{{range $.list}}{{.}}{{end}} {{end}}",
            "n1:ab n2:ab ",
        ),
        (
            "{{range .nodes}}{{if eq .role \"cp\"}}{{.name}}{{end}}{{end}}",
            "n1",
        ),
        (
            "x\n{{range .list}}\n- {{.}}\n{{- end}}\n",
            "x\n\n- a\n- b\n",
        ),
        ("x{{range .list -}} \n {{.}} {{- end}} y", "xab y"),
        // Variables.
        ("{{$x := .s}}{{$x}}{{$x = .n}}{{$x}}", "text3"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{$x := 1}}{{range .list}}{{$x = .}}{{end}}{{$x}}", "b"),
        ("{{if $x := .s}}{{$x}}{{else}}{{$x}}!{{end}}", "text"),
        // Functions.
        (
            "{{eq .s \"text\"}} {{eq .s \"a\" \"text\"}} {{ne .s \"a\"}}",
            "true true true",
        ),
        (
            "{{eq .n 3.0}} {{eq (len .list) 2}} {{eq .nil nil}} {{eq .s nil}}",
            "true true true false",
        ),
        (
            "{{lt .f 3.0}} {{ge \"b\" \"a\"}} {{le 1 1}} {{gt 1 2}}",
            "true true true false",
        ),
        (
            "{{and .yes .s}} {{and .no .s}} {{or .empty \"d\"}} {{not .no}}",
            "text false d true",
        ),
        ("{{and .no .missing}} {{or .yes .missing}}", "false true"),
        ("{{if and (eq .s \"text\") (not .no)}}y{{end}}", "y"),
        (
            "{{index .list 1}} {{index .map \"a\" \"deep\"}} {{index .request.query \"x\"}}.",
            "b x .",
        ),
        (
            "{{.s | eq \"text\"}} {{.list | len}} {{\"a\" | index .map | len}}",
            "true 2 1",
        ),
        ("{{len .esc}} {{len .map}} {{len .none}}", "11 2 0"),
    ];
    for (source, want) in table {
        assert_eq!(run(source).as_deref(), Ok(want), "{source}");
    }
}

#[test]
fn faults_name_line_and_reason() {
    let table = [
        ("a\n{{.s", 2, "action without }}"),
        ("{{", 1, "action without }}"),
        ("{{}}", 1, "expected a value, found '}'"),
        ("{{if}}x{{end}}", 1, "expected a value, found '}'"),
        ("{{if .s}}x", 1, "if without {{end}}"),
        ("\n{{range .list}}\n", 3, "range without {{end}}"),
        ("{{end}}", 1, "{{end}} without if, range or with"),
        ("{{else}}", 1, "{{else}} without if, range or with"),
        (
            "{{if .s}}{{else}}{{else}}{{end}}",
            1,
            "a second {{else}} for one if",
        ),
        (
            "{{range .s}}{{else if .s}}{{end}}",
            1,
            "expected }}, found 'i'",
        ),
        ("{{/* x }}", 1, "comment without */"),
        ("{{/* x */ .s}}", 1, "expected }}, found '.'"),
        ("{{.s .n}}", 1, "only functions take arguments"),
        ("{{.s | .n}}", 1, "only functions take arguments"),
        ("{{nil}}", 1, "nil cannot stand alone"),
        ("{{$x}}", 1, "variable $x is not declared"),
        ("{{$x = 1}}", 1, "variable $x is not declared"),
        (
            "{{if true}}{{$x := 1}}{{end}}{{$x}}",
            1,
            "variable $x is not declared",
        ),
        (
            "{{range $i, $e := .list}}{{end}}{{$e}}",
            1,
            "variable $e is not declared",
        ),
        (
            "{{.ssh-key}}",
            1,
            "unexpected '-' (a key with '-' in it is written: index . \"a-key\")",
        ),
        ("{{\"a}}", 1, "string without closing '\"'"),
        ("{{`a}}", 1, "string without closing '`'"),
        ("{{\"\\x41\"}}", 1, "not supported: \\x in a string"),
        ("{{0x10}}", 1, "not supported: the number 0x10"),
        ("{{'a'}}", 1, "expected a value, found '''"),
        ("{{(.s}}", 1, "expected ')', found '}'"),
        ("{{.s)}}", 1, "expected }}, found ')'"),
        ("{{eq len 3}}", 1, "put the call of len in parentheses"),
        ("{{eq .s}}", 1, "wrong number of arguments for eq: 1"),
        ("{{not}}", 1, "wrong number of arguments for not: 0"),
        ("{{printf \"%s\" .s}}", 1, "not supported: function printf"),
        ("{{template \"x\"}}", 1, "not supported: template"),
        ("{{if .no}}\n{{break}}{{end}}", 2, "not supported: break"),
        // Only the data shows these.
        ("\n\n{{.cluster}}", 3, "no value for .cluster"),
        ("{{.map.x}}", 1, "no value for .map.x"),
        ("{{.map.x.y}}", 1, "no value for .map.x"),
        ("{{.s.x}}", 1, "no value for .s.x: .x of text"),
        ("{{.nil.x}}", 1, "no value for .nil.x: .x of null"),
        (
            "{{.request.query.foo}}",
            1,
            "no value for .request.query.foo",
        ),
        ("{{if .missing}}{{end}}", 1, "no value for .missing"),
        (
            "{{range .s}}{{end}}",
            1,
            "range needs a list or a map, not text",
        ),
        (
            "{{eq .n 3}}",
            1,
            "eq: a JSON number (a float) and a whole number do not compare: write 3.0 instead of 3",
        ),
        (
            "{{eq .list .list}}",
            1,
            "eq: a list and a list do not compare",
        ),
        (
            "{{lt .yes .no}}",
            1,
            "lt: true or false and true or false do not compare",
        ),
        ("{{index .list 2}}", 1, "index: 2 is out of range"),
        ("{{index .list \"a\"}}", 1, "index: text is no index here"),
        (
            "{{index . \"x\" \"y\"}}",
            1,
            "index: null has nothing inside",
        ),
        (
            "{{len .n}}",
            1,
            "len: a JSON number (a float) has no length",
        ),
    ];
    for (source, line, reason) in table {
        let fault = run(source).unwrap_err();
        assert_eq!(
            (fault.line, fault.reason.as_str()),
            (line, reason),
            "{source}"
        );
    }
}

#[test]
fn what_needs_no_data_is_found_by_the_check() {
    for source in [
        "{{if .x}}{{printf}}{{end}}",
        "{{range .x}}{{$y}}{{end}}",
        "{{with .x}}",
    ] {
        assert!(check(source).is_err(), "{source}");
    }
    for source in [
        "{{.missing.x.y}}",
        "{{range $i, $e := .x}}{{$i}}{{$e.y}}{{end}}",
        "{{len 3}}",
    ] {
        assert_eq!(check(source), Ok(()), "{source}");
    }
}

#[test]
fn depth_and_time_are_bounded() {
    let nested = |n: usize| "{{if true}}".repeat(n) + &"{{end}}".repeat(n);
    assert_eq!(run(&nested(15)).as_deref(), Ok(""));
    assert!(
        run(&nested(16))
            .unwrap_err()
            .reason
            .contains("nested deeper")
    );
    let parentheses = format!("{{{{{}1{}}}}}", "(".repeat(40), ")".repeat(40));
    assert!(
        run(&parentheses)
            .unwrap_err()
            .reason
            .contains("nested deeper")
    );
    let loops = "{{range $.list}}".repeat(14) + "{{.}}{{.}}{{.}}" + &"{{end}}".repeat(14);
    assert!(run(&loops).unwrap_err().reason.contains("too many loops"));
    let variables = (0..17)
        .map(|n| format!("{{{{$v{n} := 1}}}}"))
        .collect::<String>();
    assert!(
        run(&variables)
            .unwrap_err()
            .reason
            .contains("variables at one time")
    );
}

#[test]
fn no_mutation_of_a_template_goes_wrong() {
    let source = "a {{- if and .yes (eq .s \"te\\nxt\") -}} {{range $i, $e := .list}}{{$i}}{{$e | len}}\
        {{else}}{{/* c */}}é{{end}}{{with $x := .map.a}}{{$x.deep}}{{end}}{{else if .n}}{{`q`}}{{1.5e3}}{{end}} z";
    assert!(run(source).is_ok());
    let pieces = [
        "{{", "}}", " -}}", "{{- ", "end", "else", "range ", "$i", "|", "(", ")", ".", "\"", "é",
        "`",
    ];
    let mut noise = 7_u32;
    let mut next = |n: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 8) as usize % n
    };
    for _ in 0..20_000 {
        let mut text: std::vec::Vec<char> = source.chars().collect();
        for _ in 0..3 {
            let at = next(text.len());
            match next(3) {
                0 => drop(text.remove(at)),
                1 => drop(text.splice(at..at, pieces[next(pieces.len())].chars())),
                _ => text.swap(at, at / 2),
            }
        }
        // Only panics and endless loops would be wrong.
        let _ = run(&text.into_iter().collect::<String>());
    }
}
