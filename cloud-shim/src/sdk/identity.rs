//! Who the credentials belong to (STS), and public parameters (SSM).

use super::{Answer, Explained as _, need};
use crate::api::{GetCallerIdentity, GetParameter, Identity, Request as _};

pub(super) async fn get_caller_identity(
    sts: &aws_sdk_sts::Client,
    _: GetCallerIdentity,
) -> Answer<GetCallerIdentity> {
    let call = GetCallerIdentity::NAME;
    let output = sts.get_caller_identity().send().await.explained(call)?;
    Ok(Identity {
        account: need!(call, output.account)?,
        arn: need!(call, output.arn)?,
    })
}

pub(super) async fn get_parameter(
    ssm: &aws_sdk_ssm::Client,
    request: GetParameter,
) -> Answer<GetParameter> {
    let call = GetParameter::NAME;
    let output = ssm
        .get_parameter()
        .name(request.name)
        .send()
        .await
        .explained(call)?;
    let parameter = need!(call, output.parameter)?;
    need!(call, parameter.value)
}
