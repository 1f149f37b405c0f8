//! The calls that moto lacks, against answers as AWS documents them.

use ichor_cloud::api::*;
use ichor_cloud::sdk::Timeouts;

use super::canned::{Answer, Asked, Canned};
use super::{account, done, refused, tags};

const XML: &str = "text/xml;charset=UTF-8";
const JSON: &str = "application/x-amz-json-1.0";

async fn behind(canned: &Canned) -> Box<dyn Cloud> {
    account(canned.endpoint(), "eu-west-1", Timeouts::default()).await
}

/// The parameters of a request of EC2's query protocol, decoded.
fn parameters(asked: &Asked) -> Vec<String> {
    let plain = |text: &str| {
        ["%3A", "%2F", "%20"]
            .into_iter()
            .zip([":", "/", " "])
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    asked.body.split('&').map(plain).collect()
}

/// Asserts that a request has each of the parameters.
fn has(asked: &Asked, expected: &[&str]) {
    let parameters = parameters(asked);
    for parameter in expected {
        assert!(
            parameters.iter().any(|found| found == parameter),
            "{parameter} is not in {parameters:?}"
        );
    }
}

#[tokio::test]
async fn instance_connect_endpoints() {
    let canned = Canned::start([
        Answer(
            200,
            XML,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<CreateInstanceConnectEndpointResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>b5a0e7ab-1b1c-4d5e-8f0a-000000000001</requestId>
  <instanceConnectEndpoint>
    <ownerId>123456789012</ownerId>
    <instanceConnectEndpointId>eice-0f1e2d3c4b5a69788</instanceConnectEndpointId>
    <state>create-in-progress</state>
    <stateMessage/>
    <vpcId>vpc-0a0a0a0a0a0a0a0a0</vpcId>
    <subnetId>subnet-0b0b0b0b0b0b0b0b0</subnetId>
    <securityGroupIdSet><item>sg-0c0c0c0c0c0c0c0c0</item></securityGroupIdSet>
    <tagSet>
      <item><key>Name</key><value>eice</value></item>
      <item><key>ichor:lab</key><value>wire</value></item>
    </tagSet>
  </instanceConnectEndpoint>
</CreateInstanceConnectEndpointResponse>"#,
        ),
        Answer(
            200,
            XML,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstanceConnectEndpointsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>b5a0e7ab-1b1c-4d5e-8f0a-000000000002</requestId>
  <instanceConnectEndpointSet>
    <item>
      <instanceConnectEndpointId>eice-0f1e2d3c4b5a69788</instanceConnectEndpointId>
      <state>create-failed</state>
      <stateMessage>The subnet has no free addresses</stateMessage>
      <vpcId>vpc-0a0a0a0a0a0a0a0a0</vpcId>
      <subnetId>subnet-0b0b0b0b0b0b0b0b0</subnetId>
    </item>
  </instanceConnectEndpointSet>
  <nextToken>page2</nextToken>
</DescribeInstanceConnectEndpointsResponse>"#,
        ),
        Answer(
            200,
            XML,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstanceConnectEndpointsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>b5a0e7ab-1b1c-4d5e-8f0a-000000000003</requestId>
  <instanceConnectEndpointSet>
    <item>
      <instanceConnectEndpointId>eice-00000000000000002</instanceConnectEndpointId>
      <state>create-complete</state>
      <vpcId>vpc-0a0a0a0a0a0a0a0a0</vpcId>
      <subnetId>subnet-0b0b0b0b0b0b0b0b0</subnetId>
    </item>
  </instanceConnectEndpointSet>
</DescribeInstanceConnectEndpointsResponse>"#,
        ),
        Answer(
            200,
            XML,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<DeleteInstanceConnectEndpointResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>b5a0e7ab-1b1c-4d5e-8f0a-000000000004</requestId>
  <instanceConnectEndpoint>
    <instanceConnectEndpointId>eice-0f1e2d3c4b5a69788</instanceConnectEndpointId>
    <state>delete-in-progress</state>
  </instanceConnectEndpoint>
</DeleteInstanceConnectEndpointResponse>"#,
        ),
    ]);
    let aws = &*behind(&canned).await;
    let create = CreateInstanceConnectEndpoint {
        subnet: "subnet-0b0b0b0b0b0b0b0b0".to_owned(),
        groups: vec!["sg-0c0c0c0c0c0c0c0c0".to_owned()],
        token: "eice".to_owned(),
        tags: tags("eice"),
    };
    let made = done(aws, create).await;
    assert_eq!(
        made,
        InstanceConnectEndpoint {
            id: "eice-0f1e2d3c4b5a69788".to_owned(),
            vpc: "vpc-0a0a0a0a0a0a0a0a0".to_owned(),
            subnet: "subnet-0b0b0b0b0b0b0b0b0".to_owned(),
            groups: vec!["sg-0c0c0c0c0c0c0c0c0".to_owned()],
            state: "create-in-progress".to_owned(),
            message: None,
            tags: tags("eice"),
        }
    );
    let filters = vec![Filter::new("vpc-id", "vpc-0a0a0a0a0a0a0a0a0")];
    let found = done(aws, DescribeInstanceConnectEndpoints { filters }).await;
    let states: Vec<_> = found.iter().map(|found| found.state.as_str()).collect();
    assert_eq!(states, ["create-failed", "create-complete"]);
    let why = found[0].message.as_deref();
    assert_eq!(why, Some("The subnet has no free addresses"));
    done(aws, DeleteInstanceConnectEndpoint { endpoint: made.id }).await;

    let asked = canned.asked();
    has(
        &asked[0],
        &[
            "Action=CreateInstanceConnectEndpoint",
            "SubnetId=subnet-0b0b0b0b0b0b0b0b0",
            "SecurityGroupId.1=sg-0c0c0c0c0c0c0c0c0",
            "ClientToken=eice",
            "TagSpecification.1.ResourceType=instance-connect-endpoint",
            "TagSpecification.1.Tag.2.Key=ichor:lab",
            "TagSpecification.1.Tag.2.Value=wire",
        ],
    );
    let describe = "Action=DescribeInstanceConnectEndpoints";
    has(&asked[1], &[describe, "Filter.1.Name=vpc-id"]);
    has(&asked[2], &[describe, "NextToken=page2"]);
    let delete = "Action=DeleteInstanceConnectEndpoint";
    has(
        &asked[3],
        &[delete, "InstanceConnectEndpointId=eice-0f1e2d3c4b5a69788"],
    );
}

#[tokio::test]
async fn credits_and_a_refusal_inside_a_success() {
    let canned = Canned::start([
        Answer(
            200,
            XML,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<ModifyInstanceCreditSpecificationResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>b5a0e7ab-1b1c-4d5e-8f0a-000000000005</requestId>
  <unsuccessfulInstanceCreditSpecificationSet/>
  <successfulInstanceCreditSpecificationSet>
    <item><instanceId>i-01234567890abcdef</instanceId></item>
  </successfulInstanceCreditSpecificationSet>
</ModifyInstanceCreditSpecificationResponse>"#,
        ),
        Answer(
            200,
            XML,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<ModifyInstanceCreditSpecificationResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>b5a0e7ab-1b1c-4d5e-8f0a-000000000006</requestId>
  <successfulInstanceCreditSpecificationSet/>
  <unsuccessfulInstanceCreditSpecificationSet>
    <item>
      <instanceId>i-01234567890abcdef</instanceId>
      <error>
        <code>IncorrectInstanceState</code>
        <message>The instance is not in a valid state.</message>
      </error>
    </item>
  </unsuccessfulInstanceCreditSpecificationSet>
</ModifyInstanceCreditSpecificationResponse>"#,
        ),
    ]);
    let aws = &*behind(&canned).await;
    let modify = |unlimited| ModifyInstanceCreditSpecification {
        instance: "i-01234567890abcdef".to_owned(),
        unlimited,
    };
    done(aws, modify(false)).await;
    let error = refused(aws, modify(true)).await;
    assert_eq!(
        error.to_string(),
        "ec2:ModifyInstanceCreditSpecification: IncorrectInstanceState: \
         The instance is not in a valid state."
    );
    let asked = canned.asked();
    let credits = |of: &str| format!("InstanceCreditSpecification.1.CpuCredits={of}");
    has(
        &asked[0],
        &[
            &credits("standard"),
            "InstanceCreditSpecification.1.InstanceId=i-01234567890abcdef",
        ],
    );
    has(&asked[1], &[&credits("unlimited")]);
}

/// moto deletes what is not there.
#[tokio::test]
async fn an_endpoint_that_is_not_there() {
    let canned = Canned::start([Answer(
        200,
        XML,
        r#"<?xml version="1.0" encoding="UTF-8"?>
<DeleteVpcEndpointsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>b5a0e7ab-1b1c-4d5e-8f0a-000000000007</requestId>
  <unsuccessful>
    <item>
      <resourceId>vpce-0123456789abcdef0</resourceId>
      <error>
        <code>InvalidVpcEndpoint.NotFound</code>
        <message>The Vpc Endpoint Id 'vpce-0123456789abcdef0' does not exist</message>
      </error>
    </item>
  </unsuccessful>
</DeleteVpcEndpointsResponse>"#,
    )]);
    let aws = &*behind(&canned).await;
    let endpoint = "vpce-0123456789abcdef0".to_owned();
    let missing = refused(aws, DeleteVpcEndpoint { endpoint }).await;
    assert!(missing.is_not_found(), "{missing}");
    let delete = "Action=DeleteVpcEndpoints";
    has(
        &canned.asked()[0],
        &[delete, "VpcEndpointId.1=vpce-0123456789abcdef0"],
    );
}

#[tokio::test]
async fn the_free_tier_s_balance() {
    let canned = Canned::start([Answer(
        200,
        JSON,
        r#"{"freeTierUsages":[{
            "service":"Amazon Elastic Compute Cloud - Compute",
            "operation":"RunInstances","usageType":"EU-BoxUsage:t4g.small","region":"eu-west-1",
            "actualUsageAmount":41.5,"forecastedUsageAmount":150.25,"limit":750.0,"unit":"Hrs",
            "description":"750.0 Hrs for free per month during a short-term trial",
            "freeTierType":"Free Trial"}]}"#,
    )]);
    let aws = &*behind(&canned).await;
    let usage = done(aws, GetFreeTierUsage {}).await;
    assert_eq!(
        usage,
        [FreeTierUsage {
            service: "Amazon Elastic Compute Cloud - Compute".to_owned(),
            usage_type: "EU-BoxUsage:t4g.small".to_owned(),
            description: "750.0 Hrs for free per month during a short-term trial".to_owned(),
            used: 41.5,
            forecast: 150.25,
            limit: 750.0,
            unit: "Hrs".to_owned(),
        }]
    );
    let asked = canned.asked();
    let head = asked[0].head.to_ascii_lowercase();
    assert!(
        head.contains("x-amz-target: awsfreetierservice.getfreetierusage"),
        "{head}"
    );
    // Asked in the one region that has it.
    assert!(head.contains("/us-east-1/freetier/"), "{head}");
}

#[tokio::test]
async fn costs_by_service_over_two_pages() {
    let canned = Canned::start([
        Answer(
            200,
            "application/x-amz-json-1.1",
            r#"{"NextPageToken":"more","ResultsByTime":[{
                "TimePeriod":{"Start":"2026-10-01","End":"2026-11-01"},"Estimated":false,"Total":{},
                "Groups":[{"Keys":["EC2 - Other"],
                    "Metrics":{"UnblendedCost":{"Amount":"0.0625","Unit":"USD"}}}]}]}"#,
        ),
        Answer(
            200,
            "application/x-amz-json-1.1",
            r#"{"ResultsByTime":[{
                "TimePeriod":{"Start":"2026-11-01","End":"2026-11-26"},"Estimated":true,"Total":{},
                "Groups":[
                    {"Keys":["EC2 - Other"],
                     "Metrics":{"UnblendedCost":{"Amount":"0.125","Unit":"USD"}}},
                    {"Keys":["Amazon Simple Storage Service"],
                     "Metrics":{"UnblendedCost":{"Amount":"0.5","Unit":"USD"}}}]}]}"#,
        ),
    ]);
    let aws = &*behind(&canned).await;
    let ask = GetCostAndUsage {
        from: "2026-10-01".to_owned(),
        until: "2026-11-26".to_owned(),
    };
    let costs = done(aws, ask).await;
    let costs: Vec<_> = costs
        .iter()
        .map(|cost| (cost.service.as_str(), cost.usd))
        .collect();
    assert_eq!(
        costs,
        [
            ("Amazon Simple Storage Service", 0.5),
            ("EC2 - Other", 0.1875)
        ]
    );
    let asked = canned.asked();
    let body: serde_json::Value = serde_json::from_str(&asked[0].body).expect("JSON");
    assert_eq!(body["TimePeriod"]["Start"], "2026-10-01");
    assert_eq!(body["TimePeriod"]["End"], "2026-11-26");
    assert_eq!(body["GroupBy"][0]["Key"], "SERVICE");
    assert!(
        asked[1].body.contains(r#""NextPageToken":"more""#),
        "{}",
        asked[1].body
    );
}
