// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {RenderEscrow} from "../src/RenderEscrow.sol";

/// @title Everything that the invariants speak of, in one call, for tests.
contract Probe {
    /// @return channels Of each requestor with each worker, row by row.
    /// @return delegations Of each requestor.
    /// @return balances Of the escrow, then of each account.
    function look(
        RenderEscrow escrow,
        address[] calldata requestors,
        address[] calldata workers,
        address[] calldata accounts
    )
        external
        view
        returns (
            RenderEscrow.Channel[] memory channels,
            RenderEscrow.Delegation[] memory delegations,
            uint256[] memory balances
        )
    {
        IERC20 token = escrow.TOKEN();
        channels = new RenderEscrow.Channel[](requestors.length * workers.length);
        delegations = new RenderEscrow.Delegation[](requestors.length);
        for (uint256 i; i < requestors.length; ++i) {
            (delegations[i].owner, delegations[i].cap) = escrow.delegations(requestors[i]);
            for (uint256 j; j < workers.length; ++j) {
                RenderEscrow.Channel memory channel = channels[i * workers.length + j];
                (channel.deposit, channel.claimed, channel.withdrawableAt, channel.epochs) =
                    escrow.channels(requestors[i], workers[j]);
            }
        }
        balances = new uint256[](accounts.length + 1);
        balances[0] = token.balanceOf(address(escrow));
        for (uint256 i; i < accounts.length; ++i) {
            balances[i + 1] = token.balanceOf(accounts[i]);
        }
    }
}
