use super::*;

/// Results as of a run on a made-up machine.
pub(crate) fn empty() -> Results {
    Results {
        format: FORMAT,
        kind: Kind::Run,
        began: 1_764_000_000,
        reps: 2,
        scale: Scale::Full,
        build: Build::Release,
        machine: Machine {
            cpu: "a cpu".into(),
            cores: 2,
            kernel: "6.1".into(),
            governor: Some("performance".into()),
            load: Some(0.25),
            pinning: "two cores".into(),
        },
        source: Source { commit: Some("0123456789abcdef".into()), clean: Some(true) },
        versions: BTreeMap::from([("nginx".into(), "nginx/1.22.1".into())]),
        left_out: Vec::new(),
        figures: Vec::new(),
        failures: Vec::new(),
    }
}

pub(crate) fn results() -> Results {
    let mut results = empty();
    for (rep, direct, nginx, trunkline) in [(0, 100.0, 350.0, 300.0), (1, 200.0, 400.0, 600.0)] {
        results.add("first-byte", Target::Direct, rep, &[Metric::LatencyMedian.of(direct)]);
        results.add("first-byte", Target::Nginx, rep, &[Metric::LatencyMedian.of(nginx)]);
        results.add("first-byte", Target::Trunkline, rep, &[Metric::LatencyMedian.of(trunkline)]);
        results.add("small", Target::Nginx, rep, &[Metric::Requests.of(12_345.6)]);
        results.add("small", Target::Nginx, rep, &[Metric::ProxyCore.of(99.0)]);
        results.add("small", Target::Trunkline, rep, &[Metric::ProxyCore.of(98.0)]);
    }
    results.complete();
    results
}

fn values(columns: &BTreeMap<Target, Column>, target: Target) -> Vec<f64> {
    columns.get(&target).map(Column::values).unwrap_or_default()
}

#[test]
fn added_latency_is_taken_within_a_repetition() {
    let results = results();
    let names: Vec<_> = results.figures.iter().map(|figure| figure.metric).collect();
    let expected = [Metric::LatencyMedian, Metric::AddedMedian, Metric::Requests, Metric::ProxyCore];
    assert_eq!(names, expected);
    assert_eq!(values(&results.figures[1].targets, Target::Nginx), [250.0, 200.0]);
    let summary = results.figures[1].targets[&Target::Nginx].summary;
    assert_eq!(summary, Some(Summary { median: 225.0, min: 200.0, max: 250.0 }));
}

#[test]
fn ratios_are_taken_within_a_repetition() {
    let results = results();
    let [latency, added, _, core] = &results.figures[..] else { panic!("other figures") };
    assert_eq!(values(&latency.ratios, Target::Trunkline), [300.0 / 350.0, 1.5]);
    assert_eq!(values(&added.ratios, Target::Trunkline), [0.8, 2.0]);
    assert_eq!(latency.ratios.keys().copied().collect::<Vec<_>>(), [Target::Trunkline]);
    assert!(core.ratios.is_empty());
}

#[test]
fn nothing_is_divided_by_nothing() {
    let mut results = empty();
    for (rep, nginx) in [(0, 0.0), (1, -5.0), (2, 10.0)] {
        results.add("paced", Target::Nginx, rep, &[Metric::AddedTail.of(nginx)]);
        results.add("paced", Target::Trunkline, rep, &[Metric::AddedTail.of(5.0)]);
    }
    results.add("paced", Target::Trunkline, 3, &[Metric::AddedTail.of(5.0)]);
    results.complete();
    assert_eq!(results.figures[0].ratios[&Target::Trunkline].samples, BTreeMap::from([(2, 0.5)]));
}

#[test]
fn survives_its_file() {
    let mut written = results();
    written.left_out.push(LeftOut { target: Target::Haproxy, reason: "not installed".into() });
    let error = "reset".to_owned();
    written.failures.push(Failure { scenario: "small".into(), target: Target::Bare, rep: 1, error });
    written.machine.governor = None;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("results.json");
    written.write(&file).unwrap();
    assert_eq!(Results::read(&file).unwrap(), written);
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(json["figures"][0]["targets"]["nginx"]["samples"]["1"], 400.0);
    assert_eq!(json["figures"][0]["metric"], "latency-median");
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let message = |json: &str| Results::parse(json).unwrap_err().to_string();
    assert!(message("{\"format\": 9}").contains("measure again"));
    assert!(message("{}").contains("format"));
    assert!(message("{\"format\": 1}").contains("missing field"));
    assert!(Results::read(Path::new("/nowhere.json")).is_err());
}
