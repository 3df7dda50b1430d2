use super::*;

fn sections(section: &'static Section, found: &mut Vec<&'static Section>) {
    if found.iter().any(|known| std::ptr::eq(*known, section)) {
        return;
    }
    found.push(section);
    for field in section.fields() {
        match &field.kind {
            Kind::Object(below) | Kind::TagOrObject(below) => sections(below, found),
            Kind::Objects(variants) => {
                variants.sections.iter().for_each(|(_, below)| sections(below, found));
                if let Otherwise::Error(below) | Otherwise::Keep(below) = variants.otherwise {
                    sections(below, found);
                }
            }
            _ => {}
        }
    }
}

fn all() -> Vec<&'static Section> {
    let mut found = Vec::new();
    sections(&DOCUMENT, &mut found);
    found
}

#[test]
fn names_are_unique() {
    let all = all();
    for (index, section) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| other.name != section.name), "{}", section.name);
        let names: Vec<_> = section.fields().map(|field| field.name).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{}.{name}", section.name);
        }
    }
}

#[test]
fn elements_that_differ_by_type_have_one() {
    for section in all() {
        for field in section.fields() {
            let Kind::Objects(variants) = &field.kind else { continue };
            assert_eq!(variants.typed(), variants.sections.iter().all(|(words, _)| !words.is_empty()));
            if variants.typed() {
                assert!(
                    variants.sections.iter().all(|(_, below)| below.field("type").is_some()),
                    "{}",
                    field.name
                );
            }
        }
    }
}

#[test]
fn aliases_stand_for_words() {
    for section in all() {
        for field in section.fields() {
            if let Kind::Choice(choices) = &field.kind {
                for (alias, word) in choices.aliases {
                    assert!(choices.words.contains(word) && !choices.words.contains(alias), "{}", field.name);
                    assert_eq!(choices.find(alias), Some(*word));
                }
            }
        }
    }
}

#[test]
fn our_top_level_and_that_of_sing_box_are_apart() {
    assert!(FOREIGN_SECTIONS.iter().all(|name| DOCUMENT.field(name).is_none()));
}
