"""`sfumato info`."""

from sfumato.cli.output import answer_json, answer_table


def info(model: str, /, *, json: bool = False) -> None:
    """Say what a model is: its data, network, training and classes.

    ```
    sfumato info faces
    sfumato info runs/digits --json
    ```

    Args:
        model: a run's or a model's folder, the name of a built-in model, or a hub id.
        json: answer with one JSON document.
    """
    from sfumato import pipelines

    facts = pipelines.load(model, "cpu").describe()
    (answer_json if json else answer_table)(facts)
