"""What a whole lab needs of EC2 and moto 5.2.5 lacks: Instance Connect endpoints, and what RegisterImage says
of tags, architecture and snapshot. Written after the EC2 API reference."""

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response
from moto.ec2.utils import add_tag_specification
from moto.moto_api._internal import mock_random

# By account and region.
endpoints = {}


def known(response):
    backend = response.ec2_backend
    return endpoints.setdefault((backend.account_id, backend.region_name), {})


def tags_of(response, kind):
    """The tags that the call has for this type of resource."""
    tags = add_tag_specification(response._get_param("TagSpecifications", []))
    return [{"Key": key, "Value": value} for key, value in tags.get(kind, tags).items()]


def create_instance_connect_endpoint(response):
    subnet = response.ec2_backend.get_subnet(response._get_param("SubnetId"))
    endpoint = {
        "InstanceConnectEndpointId": "eice-" + mock_random.get_random_hex(17),
        "SubnetId": subnet.id,
        "VpcId": subnet.vpc_id,
        "SecurityGroupIds": response._get_param("SecurityGroupIds", []),
        "State": "create-complete",
        "Tags": tags_of(response, "instance-connect-endpoint"),
    }
    known(response)[endpoint["InstanceConnectEndpointId"]] = endpoint
    return ActionResult({"InstanceConnectEndpoint": endpoint})


def passes(endpoint, filters):
    tags = {tag["Key"]: tag["Value"] for tag in endpoint["Tags"]}
    fields = {"vpc-id": endpoint["VpcId"], "subnet-id": endpoint["SubnetId"], "state": endpoint["State"]}
    for name, values in filters.items():
        value = tags.get(name[4:]) if name.startswith("tag:") else fields[name]
        if value not in values:
            return False
    return True


def describe_instance_connect_endpoints(response):
    filters = response._filters_from_querystring()
    ids = response._get_param("InstanceConnectEndpointIds", [])
    found = [it for it in known(response).values() if passes(it, filters)]
    if ids:
        found = [it for it in found if it["InstanceConnectEndpointId"] in ids]
    return ActionResult({"InstanceConnectEndpoints": found})


def delete_instance_connect_endpoint(response):
    name = response._get_param("InstanceConnectEndpointId")
    endpoint = known(response).pop(name, None)
    if endpoint is None:
        raise ServiceException(
            "InvalidInstanceConnectEndpointId.NotFound", f"The endpoint '{name}' does not exist"
        )
    return ActionResult({"InstanceConnectEndpoint": endpoint | {"State": "delete-complete"}})


registered = EC2Response.register_image


def register_image(response):
    result = registered(response)
    backend = response.ec2_backend
    image = backend.amis[result.result["ImageId"]]
    # The snapshot that moto made instead of the one that was named.
    del backend.snapshots[image.ebs_snapshot.id]
    mapping = response._get_param("BlockDeviceMappings")[0]
    image.ebs_snapshot = backend.snapshots[mapping["Ebs"]["SnapshotId"]]
    image.architecture = response._get_param("Architecture")
    image.boot_mode = response._get_param("BootMode")
    image.ena_support = response._get_param("EnaSupport")
    image.root_device_name = response._get_param("RootDeviceName")
    image.add_tags({tag["Key"]: tag["Value"] for tag in tags_of(response, "image")})
    return result


for method in (
    create_instance_connect_endpoint,
    describe_instance_connect_endpoints,
    delete_instance_connect_endpoint,
    register_image,
):
    setattr(EC2Response, method.__name__, method)
