//! `--ports`.

use buildplane_platform::{PortNumbers, Ports};

use super::PortsArgument;

/// `auto`, or `name=number` separated by commas; what is not named keeps its default.
pub(super) fn parse(text: &str) -> Result<PortsArgument, String> {
    let argument = |ports| Ok(PortsArgument { text: text.to_owned(), ports });
    if text == "auto" {
        return argument(Ports::Auto);
    }
    let mut numbers = PortNumbers::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, number) =
            part.split_once('=').ok_or_else(|| format!("{part:?} is neither auto nor NAME=PORT"))?;
        let number: u16 = number.parse().map_err(|_| format!("{number:?} is no port number"))?;
        let port = match name {
            "control-plane" => &mut numbers.control_plane,
            "build-plane" => &mut numbers.build_plane,
            "agents" => &mut numbers.agents,
            "gateway" => &mut numbers.gateway,
            "health" => &mut numbers.health,
            "registry" => &mut numbers.registry,
            "git" => &mut numbers.git,
            _ => return Err(format!("{name:?} is none of the platform's ports")),
        };
        *port = number;
    }
    argument(Ports::Fixed(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_ports_can_be_named() {
        let Ok(PortsArgument { ports: Ports::Fixed(numbers), .. }) = parse("registry=5555,git=0") else {
            panic!("not parsed")
        };
        assert_eq!(numbers, PortNumbers { registry: 5555, git: 0, ..PortNumbers::default() });
        assert!(matches!(parse("auto").map(|argument| argument.ports), Ok(Ports::Auto)));
        for wrong in ["x", "registry", "registry=x", "registry=70000", "other=1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
