"""What a whole lab needs of EC2 and moto 5.2.5 lacks. Written after the EC2 API reference:

- Instance Connect endpoints
- tags of DHCP options
- descriptions of rules whose peer is a group or a prefix list
- of gateway endpoints the filter by id, and the route in a table that is added later
- what RegisterImage says of tags, architecture and snapshot
"""

import inspect

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ec2.models.vpcs import VPCEndPoint
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
    fields = {
        "instance-connect-endpoint-id": endpoint["InstanceConnectEndpointId"],
        "state": endpoint["State"],
        "subnet-id": endpoint["SubnetId"],
        "vpc-id": endpoint["VpcId"],
    }
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


rule_made = SecurityGroupRule.__init__


def make_rule(rule, *arguments, **named):
    rule_made(rule, *arguments, **named)
    given = inspect.signature(rule_made).bind(rule, *arguments, **named).arguments
    prefix_list = given.get("prefix_list_id") or {}
    peers = (rule.ip_range, rule.source_group, prefix_list)
    rule.told = next((peer["Description"] for peer in peers if "Description" in peer), None)


SecurityGroupRule.__init__ = make_rule
SecurityGroupRule.description = property(lambda rule: rule.told)

endpoint_field = VPCEndPoint.get_filter_value
VPCEndPoint.get_filter_value = lambda endpoint, name, *rest: (
    endpoint.id if name == "vpc-endpoint-id" else endpoint_field(endpoint, name, *rest)
)

modified = EC2Response.modify_vpc_endpoint


def modify_vpc_endpoint(response):
    result = modified(response)
    backend = response.ec2_backend
    endpoint = backend.vpc_end_points[response._get_param("VpcEndpointId")]
    for table in response._get_param("AddRouteTableIds", []):
        backend.create_route(
            table,
            None,
            gateway_id=endpoint.id,
            destination_prefix_list_id=endpoint.destination_prefix_list_id,
        )
    return result


made_options = EC2Response.create_dhcp_options


def create_dhcp_options(response):
    result = made_options(response)
    options = result.result["DhcpOptions"]
    options.add_tags({tag["Key"]: tag["Value"] for tag in tags_of(response, "dhcp-options")})
    return result


for method in (
    create_dhcp_options,
    modify_vpc_endpoint,
    create_instance_connect_endpoint,
    describe_instance_connect_endpoints,
    delete_instance_connect_endpoint,
    register_image,
):
    setattr(EC2Response, method.__name__, method)
