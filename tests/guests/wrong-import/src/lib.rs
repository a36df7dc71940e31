//! A projection that imports an interface which the host does not serve.

use lantern_guest::prelude::*;

wit_bindgen::generate!({
    inline: "
        package example:unknown;

        interface thing {
            ask: func(question: string) -> string;
        }

        world asking {
            import thing;
        }
    ",
});

struct Asking;

impl Projection for Asking {
    const NAME: &str = "asking";
    const COLLECTIONS: &[&str] = &[];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        info!("{}", example::unknown::thing::ask(event.stream()));
        Ok(())
    }
}

lantern_guest::projection!(Asking);
