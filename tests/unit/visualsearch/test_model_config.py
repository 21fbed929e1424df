"""config.pbtxt is read and written as the message that Triton reads."""

import pytest

from tests.reference_pictures import MODEL
from visualsearch.adapters.triton.model_config import read_config, write_config
from visualsearch.domain.errors import ConfigurationError

SHIPPED = MODEL.parents[1] / "config.pbtxt"
WRITTEN_BY_HAND = """# Why.
name: "image_encoder"
# Which.
version_policy: { specific: { versions: [ 1, 3 ] } }
input [ { name: "pixels", data_type: TYPE_UINT8, dims: [ 224, 224, 3 ] } ]
"""


def test_the_shipped_configuration_is_in_the_form_that_publishing_writes(tmp_path):
    file = tmp_path / "config.pbtxt"
    file.write_text(SHIPPED.read_text())
    write_config(file, read_config(file))
    assert file.read_text() == SHIPPED.read_text()


def test_the_shipped_configuration_serves_searches_before_indexing():
    config = read_config(SHIPPED)
    assert (config.name, config.backend, config.max_batch_size) == ("image_encoder", "onnxruntime", 64)
    assert [(one.name, list(one.dims)) for one in config.input] == [("pixels", [224, 224, 3])]
    assert [one.name for one in config.output] == ["embedding", "feature_map"]
    assert config.dynamic_batching.priority_levels == 2
    assert [one.batch_size for one in config.model_warmup] == [1, 32]


def test_a_file_written_by_hand_keeps_its_values_and_the_comments_at_its_top(tmp_path):
    file = tmp_path / "config.pbtxt"
    file.write_text(WRITTEN_BY_HAND)
    config = read_config(file)
    assert list(config.version_policy.specific.versions) == [1, 3]
    write_config(file, config)
    assert read_config(file) == config
    assert file.read_text().startswith('# Why.\n\nname: "image_encoder"\n')
    assert [one.name for one in tmp_path.iterdir()] == ["config.pbtxt"]


def test_a_file_that_is_missing_or_of_another_form_is_refused(tmp_path):
    file = tmp_path / "config.pbtxt"
    with pytest.raises(ConfigurationError, match="missing"):
        read_config(file)
    file.write_text('name: "image_encoder"\nversions 1')
    with pytest.raises(ConfigurationError, match="not a model configuration: 2:"):
        read_config(file)
