from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BBox(_message.Message):
    __slots__ = ("x1", "y1", "x2", "y2")
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    X2_FIELD_NUMBER: _ClassVar[int]
    Y2_FIELD_NUMBER: _ClassVar[int]
    x1: int
    y1: int
    x2: int
    y2: int
    def __init__(
        self, x1: _Optional[int] = ..., y1: _Optional[int] = ..., x2: _Optional[int] = ..., y2: _Optional[int] = ...
    ) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("image_bytes", "bbox")
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BBOX_FIELD_NUMBER: _ClassVar[int]
    image_bytes: bytes
    bbox: BBox
    def __init__(self, image_bytes: _Optional[bytes] = ..., bbox: _Optional[_Union[BBox, _Mapping]] = ...) -> None: ...

class Vector(_message.Message):
    __slots__ = ("values", "release")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    release: str
    def __init__(self, values: _Optional[_Iterable[float]] = ..., release: _Optional[str] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("vector", "k", "min_score")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    vector: Vector
    k: int
    min_score: float
    def __init__(
        self,
        vector: _Optional[_Union[Vector, _Mapping]] = ...,
        k: _Optional[int] = ...,
        min_score: _Optional[float] = ...,
    ) -> None: ...

class TopK(_message.Message):
    __slots__ = ("ids", "distances", "release")
    IDS_FIELD_NUMBER: _ClassVar[int]
    DISTANCES_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    distances: _containers.RepeatedScalarFieldContainer[float]
    release: str
    def __init__(
        self,
        ids: _Optional[_Iterable[int]] = ...,
        distances: _Optional[_Iterable[float]] = ...,
        release: _Optional[str] = ...,
    ) -> None: ...
