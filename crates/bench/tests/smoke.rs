//! The whole harness with hardly any load: that it works, not what anything costs.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "what fails here fails the test, and should say why"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_trunkline-bench");

/// The binary of the product in the same profile. A test of the whole workspace has built it; alone, this crate does not
/// depend on it, and it is built here if it is missing; one that is there is taken as it is.
static TRUNKLINE: LazyLock<PathBuf> = LazyLock::new(|| {
    let binary = Path::new(BENCH).with_file_name("trunkline");
    if !binary.is_file() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--package", "trunkline"]);
        build.args((!cfg!(debug_assertions)).then_some("--release"));
        let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo");
        assert!(status.success() && binary.is_file(), "trunkline was not built at {}", binary.display());
    }
    binary
});

fn bench(arguments: &[&str]) -> Output {
    let output = Command::new(BENCH).args(arguments).stdin(Stdio::null()).output().expect("trunkline-bench");
    eprintln!("{}{}", text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("the results")).expect("JSON")
}

fn has(results: &Value, scenario: &str, metric: &str, target: &str) -> bool {
    let figures = results["figures"].as_array().expect("figures");
    figures.iter().any(|figure| {
        let samples = &figure["targets"][target]["samples"];
        figure["scenario"] == scenario && figure["metric"] == metric && samples["0"].is_number()
    })
}

#[test]
fn measures_every_scenario_and_compares() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("results.json");
    let (trunkline, json) = (TRUNKLINE.to_str().expect("a path"), file.to_str().expect("a path"));
    let output = bench(&[
        "run",
        "--proxy=direct,bare,trunkline",
        "--scale=tiny",
        "--reps=1",
        "--trunkline",
        trunkline,
        "--json",
        json,
    ]);
    assert!(output.status.success(), "{}", output.status);

    let results = read(&file);
    assert_eq!(results["failures"], serde_json::json!([]));
    for target in ["bare", "trunkline"] {
        for (scenario, metric) in [
            ("small", "requests"),
            ("small", "proxy-core"),
            ("burst-16", "events"),
            ("burst-16-single", "events"),
            ("paced-16", "added-tail"),
            ("first-byte", "added-median"),
            ("upload-8", "upload-rate"),
            ("memory", "memory-per-stream"),
            ("start", "start"),
        ] {
            assert!(has(&results, scenario, metric, target), "{scenario}: {metric} of {target}");
        }
        assert_ne!(results["versions"][target], "unknown", "{target}");
    }
    assert!(has(&results, "first-byte", "latency-median", "direct"));
    assert!(results["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0));
    assert!(text(&output.stdout).contains("not for publishing"));

    let compared = bench(&["compare", json, json, "--proxy=trunkline"]);
    assert!(compared.status.success());
    let compared = text(&compared.stdout);
    assert!(compared.contains("burst-16-single") && compared.contains("+0.0 %"), "{compared}");
    assert!(!compared.contains("WORSE") && !compared.contains("| bare"), "{compared}");
}

#[test]
fn baselines_are_measured_or_reported_as_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("results.json");
    let (trunkline, json) = (TRUNKLINE.to_str().expect("a path"), file.to_str().expect("a path"));
    let arguments = ["run", "--scale=tiny", "--reps=1", "--scenario=small,burst-16-single", "--json", json];
    let output = bench(&[&arguments[..], &["--trunkline", trunkline]].concat());
    assert!(output.status.success(), "{}", output.status);

    let results = read(&file);
    let left_out: Vec<&Value> =
        results["left_out"].as_array().expect("a list").iter().map(|left_out| &left_out["target"]).collect();
    for baseline in ["nginx", "haproxy"] {
        let measured = has(&results, "small", "cpu-per-request", baseline)
            && has(&results, "burst-16-single", "events", baseline);
        assert_ne!(measured, left_out.iter().any(|left_out| *left_out == baseline), "{baseline}");
        let mentioned = text(&output.stdout).contains(&format!("{baseline} is not installed"));
        assert_ne!(measured, mentioned, "{baseline}");
    }
    assert!(has(&results, "small", "requests", "trunkline"));
}

#[test]
fn counts_instructions_where_valgrind_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("counts.json");
    let json = file.to_str().expect("a path");
    let output = bench(&[
        "callgrind",
        "--reps=1",
        "--work=10",
        "--scenario=request,event-16,fn-normal-path",
        "--proxy=bare,trunkline",
        "--trunkline",
        TRUNKLINE.to_str().expect("a path"),
        "--json",
        json,
    ]);
    let has_valgrind = Command::new("valgrind").arg("--version").output().is_ok();
    assert_eq!(output.status.success(), has_valgrind, "{}", output.status);
    if has_valgrind {
        let results = read(&file);
        assert_eq!(results["failures"], serde_json::json!([]));
        assert!(has(&results, "request", "instructions-per-request", "bare"));
        assert!(has(&results, "event-16", "instructions-per-event", "trunkline"));
        assert!(has(&results, "fn-normal-path", "instructions-per-call", "trunkline"));
    } else {
        assert!(text(&output.stderr).contains("valgrind is not installed"));
    }
}

#[test]
fn refuses_what_it_does_not_know() {
    let unknown = bench(&["run", "--proxy=direct", "--scenario=nothing"]);
    assert!(!unknown.status.success() && text(&unknown.stderr).contains("there are small, burst-16"));
    let missing = bench(&["run", "--proxy=nginx", "--nginx=/nowhere/nginx"]);
    assert!(!missing.status.success() && text(&missing.stderr).contains("/nowhere/nginx"));
    let compared = bench(&["compare", "/nowhere/a.json", "/nowhere/b.json"]);
    assert!(!compared.status.success() && text(&compared.stderr).contains("/nowhere/a.json"));
}
