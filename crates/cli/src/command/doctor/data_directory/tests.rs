use super::super::finding::Level;
use super::*;
use trunkline_testkit::TempDir;

fn status() -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: 7,
        uptime_seconds: 60,
        configuration: Some("/nowhere/a.json".to_owned()),
        draining: false,
        services: Vec::new(),
    }
}

fn of(instance: &Instance, lock: Flock) -> Vec<(&'static str, Level)> {
    let place = Place::There { access: Ok(()) };
    let facts =
        Facts { place, instance, lock, file: Some("/nowhere/a.json".to_owned()), room: Some(1 << 30) };
    findings(&facts).into_iter().map(|finding| (finding.check, finding.level)).collect()
}

#[test]
fn a_running_instance_is_compared_with_this_one() {
    let usual = |instance: Level| {
        vec![
            ("data_directory.usable", Level::Ok),
            ("data_directory.instance", instance),
            ("data_directory.room", Level::Ok),
        ]
    };
    let runs = |status: Status| Instance::Runs(Box::new(status));
    assert_eq!(of(&runs(status()), Flock::Held(7)), usual(Level::Ok));
    assert_eq!(of(&Instance::Nobody, Flock::Free), usual(Level::Ok));
    assert_eq!(of(&Instance::Nobody, Flock::Unknown), usual(Level::Ok));
    assert_eq!(of(&Instance::Nobody, Flock::Held(7)), usual(Level::Problem));
    assert_eq!(of(&Instance::Forbidden, Flock::Held(7)), usual(Level::Warning));
    assert_eq!(of(&Instance::Mute("x".to_owned()), Flock::Held(7)), usual(Level::Problem));
    let other = Status { version: "0.0.0".to_owned(), configuration: None, ..status() };
    let found = of(&runs(other), Flock::Held(7));
    assert!(found.contains(&("data_directory.version", Level::Warning)), "{found:?}");
    assert!(found.contains(&("data_directory.configuration", Level::Warning)), "{found:?}");
}

#[test]
fn room_is_told() {
    assert_eq!(of_room(LITTLE_ROOM).level, Level::Ok);
    assert_eq!(of_room(LITTLE_ROOM - 1).level, Level::Warning);
}

#[test]
fn every_place_is_told_apart() {
    let directory = TempDir::new().unwrap();
    let file = directory.write("file", "").unwrap();
    let link = directory.join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert_eq!(place(directory.path()), Place::There { access: Ok(()) });
    let missing = directory.join("a/b");
    assert_eq!(place(&missing), Place::ToBeMade { below: directory.path().to_owned(), access: Ok(()) });
    assert_eq!(place(&file.join("b")), Place::Blocked { by: file });
    assert_eq!(place(&link.join("b")), Place::Blocked { by: link });
    assert!(room(directory.path()).is_some());
    assert!(!missing.exists() && !directory.join("a").exists());
    for (place, level) in [
        (Place::There { access: Err(io::ErrorKind::ReadOnlyFilesystem) }, Level::Problem),
        (Place::ToBeMade { below: "/".into(), access: Err(io::ErrorKind::PermissionDenied) }, Level::Problem),
        (Place::Blocked { by: "/x".into() }, Level::Problem),
    ] {
        let finding = of_place(&place);
        assert!(finding.level == level && finding.remedy.is_some() && !is_usable(&place), "{finding:?}");
    }
}
