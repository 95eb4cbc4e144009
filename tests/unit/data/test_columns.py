from regen.data.columns import Column, TableSchema


def test_models_see_no_column_that_plays_another_part():
    columns = tuple(Column(name, "numeric") for name in ("row", "when", "who", "amount", "fraud", "hour"))

    schema = TableSchema(columns, key="row", time="when", label="fraud", groups=("who",))

    assert [column.name for column in schema.modelled] == ["amount", "hour"]
