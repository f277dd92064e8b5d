"""Instances: what is given, read from JSON and validated as a whole."""

from mocap_opt.instance.costs import Coefficients, Measured, MeasuredTimes, Roofline, StageCoefficients
from mocap_opt.instance.instance import VERSION, Instance, json_schema, load_instance
from mocap_opt.instance.models import MODELS
from mocap_opt.instance.pipeline import Pipeline, StageLayout
from mocap_opt.instance.schema import Chunking, Experts, Latent, ModelSpec, PrecisionSpec, Workload
from mocap_opt.wafer.spec import DieSpec, LinkSpec, PoolSpec, SlowLink, WaferSpec

__all__ = [
    "MODELS",
    "VERSION",
    "Chunking",
    "Coefficients",
    "DieSpec",
    "Experts",
    "Instance",
    "Latent",
    "LinkSpec",
    "Measured",
    "MeasuredTimes",
    "ModelSpec",
    "Pipeline",
    "PoolSpec",
    "PrecisionSpec",
    "Roofline",
    "SlowLink",
    "StageCoefficients",
    "StageLayout",
    "WaferSpec",
    "Workload",
    "json_schema",
    "load_instance",
]
